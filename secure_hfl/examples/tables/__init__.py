"""Two small tables as two organisations have them: `clinic.csv`, and `laboratory.csv` as Excel writes it in Germany.

485 and 484 tumours, 400 of them in both. The clinic has the diagnosis and four measurements, the laboratory six. The
data is Breast Cancer Wisconsin (Diagnostic) (Wolberg, Mangasarian, Street, 1993, CC BY 4.0), as scikit-learn ships it;
`make_tables.py` made the files.
"""

from __future__ import annotations

from pathlib import Path

CLINIC, LABORATORY = (Path(__file__).parent / name for name in ("clinic.csv", "laboratory.csv"))
ID, LABEL = "tumour", "diagnosis"
