"""The tutorial's task: MNIST digits cut into halves.

`host.py` and `collaborator.py` are the tutorial's two listings; `strips_host.py` and `strips_collaborator.py` the same
task for any number of collaborators; `one_process.py` trains the same networks without any protocol. The four data
files are part of the package (MNIST: Yann LeCun and Corinna Cortes, CC BY-SA 3.0); torchvision's `MNIST` class, which
the extra `mnist` installs, reads them.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from importlib.resources import as_file, files
from pathlib import Path

from secure_hfl.home import home_directory

FILES = (
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
)

DATA_VARIABLE = "SECURE_HFL_DATA"


def data_dir() -> str:
    """A `root` for `torchvision.datasets.MNIST`, with the files unpacked.

    They go under `$SECURE_HFL_DATA`, or else under the home directory, because a package may be installed read-only.
    Safe when several parties on one machine call it at once.
    """
    configured = os.environ.get(DATA_VARIABLE)
    return str(unpack(Path(configured) if configured else home_directory() / "data"))


def unpack(root: Path) -> Path:
    """Unpack the files under this directory, unless they are there."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        with as_file(files(__name__) / "data" / f"{name}.gz") as packed:
            if not (raw / packed.name).exists():
                _write(raw / packed.name, packed.read_bytes())
            if not (raw / name).exists():
                with gzip.open(packed) as unpacked:
                    _write(raw / name, unpacked.read())
    return root


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all: another process may be looking."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(data)
    shutil.move(file.name, path)
