"""The classes that users subclass. User code imports torchvision after these: it is mended here if need be."""

from secure_hfl.torchvision_ops import declare_missing_operators

declare_missing_operators()
