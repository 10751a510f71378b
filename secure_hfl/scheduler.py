"""The tutorial's import path for `DataChecker`. Checkers import torchvision after it: it is mended here if need be."""

from secure_hfl.data_checker import DataChecker
from secure_hfl.torchvision_ops import declare_missing_operators

declare_missing_operators()

__all__ = ["DataChecker"]
