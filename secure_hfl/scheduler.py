"""The tutorial's import path for `DataChecker`. Data checks load torchvision's data sets, so mend it first if needed."""

from secure_hfl.data_checker import DataChecker
from secure_hfl.torchvision_ops import declare_missing_operators

declare_missing_operators()

__all__ = ["DataChecker"]
