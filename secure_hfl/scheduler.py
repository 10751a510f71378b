"""The tutorial's import path for `DataChecker`, which loads torchvision's data sets: mend torchvision first."""

from secure_hfl.data_checker import DataChecker
from secure_hfl.torchvision_ops import declare_missing_operators

declare_missing_operators()

__all__ = ["DataChecker"]
