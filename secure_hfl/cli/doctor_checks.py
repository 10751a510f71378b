"""The doctor's checks. Each yields rows; none changes more than the first run of any command does."""

from __future__ import annotations

import importlib
import importlib.util
import platform
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from functools import partial
from importlib import metadata
from importlib.resources import files
from pathlib import Path

from cryptography import x509
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from protocols.core.errors import InvalidInput, SecureHflError
from protocols.core.sentence import say
from secure_hfl.cli.doctor_row import Row, Status
from secure_hfl.errors import IdentityError
from secure_hfl.home import existing_home, privacy_problems, replaceable_by_others
from secure_hfl.identity import TLS_NAME, Identity, valid_until, validity_problem
from secure_hfl.tasks import TaskRecord, TaskStore, split_address
from secure_hfl.tasks.record import utc_now

DISTRIBUTION = "secure-hfl"
CONNECT_SECONDS = 2.0
CLOCK_TOLERANCE = timedelta(minutes=5)
DISK_FAIL_BYTES = 100 << 20
DISK_WARN_BYTES = 1 << 30
REQUIRED = ("torch", "grpcio", "cryptography", "gmpy2")
"""Without these nothing trains."""
OPTIONAL = {
    "tenseal": "the schemes bfv and masked, where the native module was not built",
    "phe": "the scheme paillier",
    "ipp-crypto": "more speed",
    "torchvision": "the demo, and scripts that import it",
}
"""And what needs each of the others."""
MISSING = {
    **dict.fromkeys(REQUIRED, say("not installed")),
    **{name: say("not installed; needed for {what}", what=what) for name, what in OPTIONAL.items()},
}
MNIST_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def check_versions() -> Iterator[Row]:
    """Python and the packages, against the ranges that this package declares."""
    ranges = declared_ranges()
    if ranges is None:
        yield Row("secure-hfl", "warn", "not installed as a package, so version ranges are unknown", "pip install -e .")
        ranges = {}
    python = platform.python_version()
    wanted = ranges.get("python", "")
    fits = version_fits(python, wanted)
    yield Row(
        "python",
        "ok" if fits else "fail",
        _range_text(python, wanted),
        "" if fits else say("use Python {wanted}", wanted=wanted),
    )
    for name in (*REQUIRED, *OPTIONAL):
        yield _package_row(name, ranges.get(name, ""))


def _package_row(name: str, wanted: str) -> Row:
    bad: Status = "fail" if name in REQUIRED else "warn"
    fix = f"pip install '{name}{wanted}'"
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Row(name, bad, MISSING[name], fix)
    if not version_fits(version, wanted):
        return Row(name, bad, _range_text(version, wanted), fix)
    return Row(name, "ok", _range_text(version, wanted))


def declared_ranges() -> dict[str, str] | None:
    """Version ranges by package name, extras included, and "python"; None when the metadata is not installed."""
    try:
        own = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return None
    requirements = [Requirement(text) for text in own.requires or ()]
    ranges = {requirement.name: str(requirement.specifier) for requirement in requirements}
    return {**ranges, "python": str(own.metadata.json.get("requires_python", ""))}


def version_fits(version: str, wanted: str) -> bool:
    """Whether a version is in a range such as ">=2.4,<2.14"; pre-releases count."""
    return SpecifierSet(wanted).contains(version, prereleases=True)


def _range_text(version: str, wanted: str) -> str:
    return say("{version} (wants {wanted})", version=version, wanted=wanted) if wanted else version


def check_torchvision() -> Iterator[Row]:
    """torchvision is built for one torch; the wrong pair installs and then does not import."""
    if importlib.util.find_spec("torchvision") is None:
        return  # the packages' rows say so
    try:
        # Here and not above, because it imports torch, which a sick machine may lack.
        from secure_hfl.torchvision_ops import declare_missing_operators

        declared = declare_missing_operators()
        importlib.import_module("torchvision")
    except Exception as error:  # a broken pair raises RuntimeError, OSError or ImportError
        fix = "install torchvision for this torch: https://pytorch.org/get-started/locally"
        yield Row("torchvision import", "fail", f"{type(error).__name__}: {error}", fix)
        return
    yield Row("torchvision import", "ok", "its C++ operators do not load; not needed here" if declared else "works")


def check_fast_path() -> Iterator[Row]:
    """The AVX-512 kernels: never needed, but several times faster."""
    if importlib.util.find_spec("protocols.core.multi_buffer") is None:
        return
    multi_buffer = importlib.import_module("protocols.core.multi_buffer")
    if multi_buffer.available():
        yield Row("fast path", "ok", "AVX-512 multi-buffer kernels")
    else:
        why = str(multi_buffer.why_unavailable())
        yield Row(
            "fast path",
            "warn",
            say("slower kernels: {why}", why=why),
            "pip install 'secure-hfl[fast]', if the CPU has IFMA",
        )


def check_arithmetic() -> Iterator[Row]:
    """What computes bfv: a kernel in C, or SEAL, which takes ten times as long."""
    # Here and not above, because it imports numpy, which a sick machine may lack.
    from protocols.he import engines

    name = "bfv arithmetic"
    try:
        found, packing = engines.description(), engines.training_set().packing
    except InvalidInput as error:
        yield Row(name, "fail", str(error), say("unset {one} and {other}", one=engines.CHOICE, other=engines.PACKING))
        return
    if packing == 1:
        found = say("{found}; a host here asks for a reply for each sum", found=found)
    else:
        found = say("{found}; a host here asks for {n} sums in a reply", found=found, n=packing)
    if engines.chosen() != engines.SEAL:
        yield Row(name, "ok", found)
    elif engines.is_built():
        yield Row(
            name,
            "warn",
            say("{found}: {name} is set", found=found, name=engines.SWITCH),
            say("unset {name}, for ten times the speed", name=engines.SWITCH),
        )
    else:
        fix = "install a C compiler and this package again, for ten times the speed"
        yield Row(name, "warn", say("{found}: the native module was not built", found=found), fix)


def check_modes(home: Path) -> Iterator[Row]:
    """The home directory and the secrets in it belong to this user, and nobody else may look in."""
    name = "home directory"
    problems = list(privacy_problems(home))
    for problem in problems:
        yield Row(name, "fail", problem.what, problem.remedy.removeprefix("run: "))
    if above := replaceable_by_others(home):
        yield Row(name, "warn", above.what, above.remedy)
    if not problems and above is None:
        yield Row(name, "ok", str(home))


def check_identity(home: Path) -> Iterator[Row]:
    """The key can be read, and the certificate is valid for a while."""
    name = "identity"
    if not (home / "identity").exists():
        yield Row(name, "warn", "none yet", "secure-hfl identity --name NAME")
        return
    try:
        own = Identity.load_or_create(home)
    except IdentityError as error:
        # Its message says what to do.
        yield Row(name, "fail", str(error), "see the detail, and the clock below")
        return
    if problem := validity_problem(own.certificate_pem):
        yield Row(
            name,
            "warn",
            say(
                "{name}'s certificate {fingerprint} {what}",
                name=own.name,
                fingerprint=own.fingerprint,
                what=problem.what,
            ),
            problem.remedy,
        )
        return
    expires = valid_until(own.certificate_pem)
    yield Row(
        name,
        "ok",
        say(
            "{name} {fingerprint}, expires {expires:%Y-%m-%d}",
            name=own.name,
            fingerprint=own.fingerprint,
            expires=expires,
        ),
    )


def check_certificates(home: Path) -> Iterator[Row]:
    """Those of the other parties, as unfinished tasks pin them, are valid for a while."""
    tasks: dict[tuple[str, bytes], list[str]] = {}
    for record in TaskStore(home).list():
        for party in record.participants:
            if not record.finished and party.name != record.party:
                tasks.setdefault((party.name, party.certificate_pem), []).append(record.name)
    bad = [(name, used, problem) for (name, pem), used in tasks.items() if (problem := validity_problem(pem))]
    for name, used, problem in bad:
        # It is a participant's to mend, so this does not make the machine unfit.
        yield Row(
            say("certificate of {name}", name=name),
            "warn",
            say("{what} (task {tasks})", what=problem.what, tasks=", ".join(used)),
            problem.remedy,
        )
    if tasks and not bad:
        yield Row("certificates", "ok", say("{n} of other parties, valid for a month or more", n=len(tasks)))


def check_disk(home: Path) -> Iterator[Row]:
    """Room for checkpoints and transcripts."""
    free = shutil.disk_usage(home).free
    status: Status = "fail" if free < DISK_FAIL_BYTES else "warn" if free < DISK_WARN_BYTES else "ok"
    fix = "" if status == "ok" else say("free some space, or move {home} (SECURE_HFL_HOME)", home=home)
    yield Row("disk", status, say("{free:.1f} GiB free at {home}", free=free / (1 << 30), home=home), fix)


def check_clock(home: Path) -> Iterator[Row]:
    """The wall clock against what has happened here already, and the clock that timeouts use."""
    now = utc_now()
    marks = {"the newest file in the home directory": _newest(home)}
    certificate = home / "identity" / "certificate.pem"
    if certificate.exists():
        begins = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_before_utc
        marks["the beginning of the certificate"] = begins
    late = {what: when - now for what, when in marks.items() if when - now > CLOCK_TOLERANCE}
    if not late:
        yield Row("clock", "ok", say("{now:%Y-%m-%d %H:%M:%S} UTC", now=now))
    for what, by in late.items():
        detail = say("the clock is {hours:.1f} h behind {what}", hours=by.total_seconds() / 3600, what=what)
        yield Row("clock", "fail", detail, "set the clock (timedatectl set-ntp true)")
    first = time.monotonic()
    steady = time.get_clock_info("monotonic").monotonic and time.monotonic() >= first
    fix = "" if steady else "timeouts cannot be trusted on this system; use another"
    yield Row("monotonic clock", "ok" if steady else "fail", "steady" if steady else "runs backwards", fix)


def _newest(home: Path) -> datetime:
    newest = 0.0
    for path in home.rglob("*"):
        with suppress(FileNotFoundError):  # SQLite's journals come and go
            newest = max(newest, path.lstat().st_mtime)
    return datetime.fromtimestamp(newest, timezone.utc)


def check_tasks(home: Path) -> Iterator[Row]:
    """For each unfinished task: can the host listen, can a collaborator reach the host."""
    store = TaskStore(home)
    for record in store.list():
        if not record.finished:
            yield _port_row(store, record) if record.role == "host" else _reach_row(home, record)


def _port_row(store: TaskStore, record: TaskRecord) -> Row:
    name = say("task {task_id} ({name})", task_id=record.task_id[:8], name=record.name)
    if store.is_live(record.task_id):
        return Row(name, "ok", "running now")
    _, port = split_address(record.address)
    try:
        with socket.create_server(("", port)):
            pass
    except OSError as error:
        fix = "stop what listens there, or create the task with another port"
        return Row(name, "fail", say("cannot listen on port {port}: {error}", port=port, error=error.strerror), fix)
    return Row(name, "ok", say("port {port} is free", port=port))


def _reach_row(home: Path, record: TaskRecord) -> Row:
    name = say("task {task_id} ({name})", task_id=record.task_id[:8], name=record.name)
    try:
        plain = socket.create_connection(split_address(record.address), timeout=CONNECT_SECONDS)
    except OSError as error:
        # The host may simply not have started yet, so this does not make the machine unfit.
        fix = say("start the host {name!r}, and let TCP through to it", name=record.host.name)
        return Row(
            name,
            "warn",
            say("no connection to {address}: {error}", address=record.address, error=error.strerror or str(error)),
            fix,
        )
    with plain:
        if not (home / "identity").exists():
            return Row(name, "ok", say("{address} answers", address=record.address))
        try:
            version = _shake_hands(home, record, plain)
        except OSError as error:  # TLS's own errors are some
            hint = "is it the host of this task that listens there, and do both sides have each other's certificate?"
            return Row(
                name,
                "warn",
                say(
                    "{address} answers, but not as {name!r}: {why}",
                    address=record.address,
                    name=record.host.name,
                    why=_why(error),
                ),
                hint,
            )
    return Row(
        name,
        "ok",
        say("{address} answers with {version} and the pinned certificate", address=record.address, version=version),
    )


def _shake_hands(home: Path, record: TaskRecord, plain: socket.socket) -> str:
    """The version of TLS that the host agrees to, once it has accepted our certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=record.host.certificate_pem.decode("ascii"))
    context.load_cert_chain(home / "identity" / "certificate.pem", home / "identity" / "key.pem")
    context.set_alpn_protocols(["h2"])
    with context.wrap_socket(plain, server_hostname=TLS_NAME) as stream:
        # In TLS 1.3 a client learns with the first bytes, here HTTP/2's settings, whether its certificate will do.
        if not stream.recv(1):
            raise ConnectionResetError("it hung up after seeing our certificate")
        return str(stream.version())


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return getattr(error, "reason", None) or error.strerror or str(error)


def check_mnist() -> Iterator[Row]:
    """The example's data, which the demo needs."""
    # The packed files, not data_dir(): that one unpacks them, and a doctor should leave things as they are.
    packed = files("secure_hfl.examples.mnist") / "data"
    missing = [name for name in MNIST_FILES if not (packed / name).is_file()]
    if missing:
        fix = "reinstall secure-hfl; only the demo and the examples need the data"
        yield Row(
            "MNIST data", "warn", say("missing in {folder}: {files}", folder=packed, files=", ".join(missing)), fix
        )
    else:
        yield Row("MNIST data", "ok", str(packed))


def check_all(home: Path | None = None) -> Iterator[Row]:
    """Every check. One that breaks down is a failed check, and the others still run.

    Args:
        home: the party's directory; default: the one that the environment names.
    """
    for check in (check_versions, check_torchvision, check_fast_path, check_arithmetic, check_mnist):
        yield from _survive(check.__name__, check)
    try:
        home = existing_home() if home is None else home
    except SecureHflError as error:
        yield Row("home directory", "fail", str(error), "see the detail; the checks of what it holds were left out")
        return
    of_home = (check_modes, check_identity, check_certificates, check_clock, check_disk, check_tasks)
    for home_check in of_home:
        yield from _survive(home_check.__name__, partial(home_check, home))


def _survive(name: str, check: Callable[[], Iterator[Row]]) -> Iterator[Row]:
    try:
        yield from check()
    except Exception as error:  # a sick machine may raise anything
        what = name.removeprefix("check_").replace("_", " ")
        yield Row(what, "fail", f"{type(error).__name__}: {error}", "repair what the detail says")
