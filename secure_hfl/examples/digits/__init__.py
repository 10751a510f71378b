"""Which digit is it? The 8 x 8 images of scikit-learn's digits, in strips among a host and three collaborators.

The data (Alpaydin, Kaynak: Optical Recognition of Handwritten Digits, 1998, CC BY 4.0) comes with scikit-learn, which
the extra `examples` installs.
"""
