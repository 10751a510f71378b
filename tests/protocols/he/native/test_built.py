"""The other tests of the kernel are skipped without a module: here a broken build fails where one is to be expected."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from protocols.he.native import library
from protocols.he.native.library import INTERFACE, instruction_sets

HEADER = Path(library.__file__).with_name("kernel.h")


@pytest.mark.skipif(os.environ.get("SECURE_HFL_NO_NATIVE", "") not in ("", "0"), reason="SECURE_HFL_NO_NATIVE is set")
@pytest.mark.skipif(shutil.which(os.environ.get("CC", "cc")) is None, reason="there is no C compiler here")
def test_where_there_is_a_compiler_the_module_is_there() -> None:
    assert instruction_sets(), "the native kernel is not built, or not from this source: make native shows why"


def test_python_expects_the_interface_of_the_header() -> None:
    assert f"#define KERNEL_INTERFACE {INTERFACE} " in HEADER.read_text()
