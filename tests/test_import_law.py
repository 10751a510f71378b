"""The import law: who may import what, by reading the source, and what `import secure_hfl` does to a process."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
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
        "weakref",
        "base64",
    ),
    *("numpy", "cryptography", "gmpy2", "protocols"),
}
# What single modules may use beyond that, and why.
EXCEPTIONS = {
    "core/randomness.py": {"os"},  # os.urandom
    "core/multi_buffer.py": {"os", "sys", "ctypes"},  # loads the C library if the processor has what it needs
    "he/seal_engine.py": {"os", "zstandard", "tenseal"},  # SEAL saves and loads through a path: a memfd
    "he/stock.py": {"os"},  # tells a forked process
    "he/engines.py": {"os"},  # which engine the environment asks for
    "he/paillier.py": {"phe", "importlib"},
}
FORBIDDEN_CALLS = {"open", "eval", "exec", "print", "input", "__import__"}


@cache
def imported(tree: ast.AST) -> frozenset[str]:
    """Every imported module, also inside functions."""
    return frozenset(_imported(tree))


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide who imports whom"
            yield node.module or ""


@cache
def parse(path: Path) -> ast.Module:
    """A file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def test_only_tests_import_tests() -> None:
    """What benchmarks and tests share stands in benchmarks/harness."""
    others = [*PROTOCOLS, *ENGINE, *(ROOT / "benchmarks").rglob("*.py")]
    assert not [path for path in others if "tests" in {module.split(".")[0] for module in imported(parse(path))}]


def exception_for(name: str) -> set[str]:
    """A SEAL or Paillier helper beside the file that the rule names has the same rights."""
    if name.startswith("he/seal_"):
        return EXCEPTIONS["he/seal_engine.py"]
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
    allowed_calls = {"open"} if name == "core/multi_buffer.py" or name.startswith("he/seal_") else set()
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
    assert {attribute for name, attribute in uses if name == "he/engines.py"} == {"environ"}
    looked_at = ("core/randomness.py", "core/multi_buffer.py", "he/engines.py")
    rest = {(name, attribute) for name, attribute in uses if name not in looked_at}
    assert {attribute for _, attribute in rest} <= {
        "getpid",
        "memfd_create",
        "close",
        "writev",
        "lseek",
        "SEEK_SET",
        "fstat",
        "pread",
    }


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("tenseal", ("protocols/he/seal_",)),
        ("phe", ("protocols/he/paillier",)),
        ("grpc", ("secure_hfl/transport/",)),
        ("loky", ("secure_hfl/executor.py",)),
        ("sqlite3", ("secure_hfl/tasks/", "secure_hfl/database.py")),
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


def _graph() -> dict[str, set[str]]:
    """What every module of the project imports of it: at its head, inside functions, and for type checkers alone."""
    paths = {_module(path): path for path in [*PROTOCOLS, *ENGINE]}
    graph: dict[str, set[str]] = {}
    for name, path in paths.items():
        graph[name] = set()
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Import):
                graph[name] |= {each.name for each in node.names}
            elif isinstance(node, ast.ImportFrom):
                # What is imported from a package may be a module of it.
                inner = {f"{node.module}.{each.name}" for each in node.names} & set(paths)
                graph[name] |= inner or {node.module or ""}
        graph[name] &= set(paths) - {name}
    return graph


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def circles(graph: Mapping[str, set[str]]) -> set[str]:
    """The modules that cannot be put in an order in which each only imports those before it."""
    left = {name: set(imports) for name, imports in graph.items()}
    while ready := {name for name, imports in left.items() if not imports}:
        left = {name: imports - ready for name, imports in left.items() if name not in ready}
    # What is left imports a circle, or is in one; who is imported by nobody that is left only imports one.
    while tops := set(left) - {each for imports in left.values() for each in imports}:
        left = {name: imports for name, imports in left.items() if name not in tops}
    return set(left)


def test_no_two_modules_import_each_other() -> None:
    """`secure_hfl/__init__.py` too, which loads lazily what it shows: it says so to type checkers in plain imports."""
    graph = _graph()
    assert len(graph) > 200, "the graph has the project's modules"
    assert graph["secure_hfl.engine.host"] >= {"protocols.task.agreement", "secure_hfl.engine.run"}
    assert not circles(graph)


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}, "e": set()}) == {"b", "c"}
    assert not circles({"a": {"b", "c"}, "b": {"c"}, "c": set()})


def test_the_engine_knows_no_scheme_and_no_scheduler() -> None:
    below = {name: imports for name, imports in _graph().items() if name.startswith("secure_hfl.engine.")}
    known = {name for imports in below.values() for name in imports}
    assert "protocols.schemes.interface" in known
    assert not {name for name in known if name.startswith("secure_hfl.schedulers")}
    assert {name for name in known if name.startswith("protocols.schemes")} == {"protocols.schemes.interface"}
