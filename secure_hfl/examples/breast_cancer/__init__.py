"""Is a tumour malignant? The columns of scikit-learn's breast cancer table, split between a clinic and a laboratory.

The data (Wolberg, Mangasarian, Street: Breast Cancer Wisconsin (Diagnostic), 1993, CC BY 4.0) comes with
scikit-learn, which the extra `examples` installs.
"""
