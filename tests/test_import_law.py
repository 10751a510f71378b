"""The import law: who may import what, by reading the source, and what `import secure_hfl` does to a process."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROTOCOLS = sorted((ROOT / "protocols").rglob("*.py"))
ENGINE = sorted(path for path in (ROOT / "secure_hfl").rglob("*.py") if "_pb2" not in path.name)

# The standard library's pure parts, and the numerical and cryptographic libraries.
ALLOWED = {
    *("__future__", "abc", "collections", "dataclasses", "enum", "functools", "hashlib", "hmac", "itertools", "math"),
    *(
        "operator",
        "re",
        "contextlib",
        "json",
        "struct",
        "types",
        "typing",
        "typing_extensions",
        "unicodedata",
        "base64",
    ),
    *("numpy", "cryptography", "gmpy2", "protocols"),
}
# What single modules may use beyond that, and why.
EXCEPTIONS = {
    "core/randomness.py": {"os"},  # os.urandom
    "core/multi_buffer.py": {"os", "sys", "ctypes"},  # loads the C library if the processor has what it needs
    "he/bfv.py": {"os", "zstandard", "tenseal"},  # SEAL saves and loads through a path: a memfd
    "he/paillier.py": {"phe", "importlib"},
}
FORBIDDEN_CALLS = {"open", "eval", "exec", "print", "input", "__import__"}


def imported(tree: ast.AST) -> Iterator[str]:
    """Every imported module, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide who imports whom"
            yield node.module or ""


def parse(path: Path) -> ast.Module:
    """A file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def exception_for(name: str) -> set[str]:
    """A SEAL or Paillier helper beside the file that the rule names has the same rights."""
    if name.startswith("he/seal_"):
        return EXCEPTIONS["he/bfv.py"]
    if name.startswith("he/paillier"):
        return EXCEPTIONS["he/paillier.py"]
    return EXCEPTIONS.get(name, set())


@pytest.mark.parametrize("path", PROTOCOLS, ids=lambda path: str(path.relative_to(ROOT)))
def test_protocols_are_pure(path: Path) -> None:
    name = str(path.relative_to(ROOT / "protocols"))
    tree = parse(path)
    used = {module.split(".")[0] for module in imported(tree)}
    assert used <= ALLOWED | exception_for(name)
    calls = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    allowed_calls = {"open"} if name == "core/multi_buffer.py" or name.startswith(("he/bfv", "he/seal_")) else set()
    assert not (calls & FORBIDDEN_CALLS) - allowed_calls


def test_os_is_used_for_what_the_exceptions_say() -> None:
    uses = {
        (str(path.relative_to(ROOT / "protocols")), node.attr)
        for path in PROTOCOLS
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
    }
    assert ("core/randomness.py", "urandom") in uses
    assert {attribute for name, attribute in uses if name == "core/randomness.py"} == {"urandom"}
    assert {attribute for name, attribute in uses if name == "core/multi_buffer.py"} <= {"environ", "path"}
    rest = {(name, attribute) for name, attribute in uses if name not in ("core/randomness.py", "core/multi_buffer.py")}
    assert {attribute for _, attribute in rest} <= {
        "getpid",
        "memfd_create",
        "close",
        "write",
        "lseek",
        "SEEK_SET",
        "fstat",
        "pread",
    }


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("tenseal", ("protocols/he/bfv", "protocols/he/seal_")),
        ("phe", ("protocols/he/paillier",)),
        ("grpc", ("secure_hfl/transport/",)),
        ("loky", ("secure_hfl/executor.py",)),
        ("sqlite3", ("secure_hfl/tasks/",)),
        ("pickle", ()),
        ("cloudpickle", ()),
        ("dill", ()),
        ("marshal", ()),
        ("shelve", ()),
        ("random", ("secure_hfl/checkpoints/local_state.py",)),  # keeps the state of the user's generator
    ],
)
def test_who_imports_a_library(library: str, allowed: tuple[str, ...]) -> None:
    importers = {
        str(path.relative_to(ROOT))
        for path in [*PROTOCOLS, *ENGINE]
        if any(module.split(".")[0] == library for module in imported(parse(path)))
    }
    assert not [name for name in importers if not name.startswith(allowed)]


def test_nothing_is_loaded_with_torch() -> None:
    # torch.load and numpy.load(allow_pickle=True) run code that a file holds.
    loads = [
        (path.name, node.lineno)
        for path in [*PROTOCOLS, *ENGINE]
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Attribute)
        and node.attr in ("load", "save")
        and isinstance(node.value, ast.Name)
        and node.value.id in ("torch", "np", "numpy")
    ]
    assert not loads


def test_protocols_do_not_know_the_engine() -> None:
    assert not [path for path in PROTOCOLS if any(module.startswith("secure_hfl") for module in imported(parse(path)))]


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_import_changes_nothing() -> None:
    printed = run(
        "import logging, sys, warnings, signal\n"
        "before = (logging.root.level, list(logging.root.handlers), sys.excepthook, list(warnings.filters),\n"
        "          signal.getsignal(signal.SIGINT), logging.getLogger('secure_hfl').handlers[:])\n"
        "import secure_hfl\n"
        "after = (logging.root.level, list(logging.root.handlers), sys.excepthook, list(warnings.filters),\n"
        "         signal.getsignal(signal.SIGINT), logging.getLogger('secure_hfl').handlers[:])\n"
        "print(before == after, 'torch' in sys.modules, 'grpc' in sys.modules)\n"
        "secure_hfl.logger\n"
        "print(logging.root.handlers, secure_hfl.logger.handlers, secure_hfl.logger.level)\n"
    )
    assert printed.splitlines() == ["True False False", "[] [] 0"]


def test_protocols_import_no_framework() -> None:
    printed = run(
        "import sys, protocols.schemes.registry, protocols.task.agreement, protocols.psi\n"
        "print([name for name in ('torch', 'grpc', 'secure_hfl') if name in sys.modules])"
    )
    assert printed.strip() == "[]"
