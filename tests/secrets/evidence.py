"""Runs real parties under the spy, through a proxy, and gathers everything they left, showed or sent.

Places are named `home/<party>/<file>`, `temporary/...`, `stdout/<party>`, `command/<party>/<command>`, `report/<run>`,
`<run>/tcp`, `<run>/wire/<party>/<message type>`, and `<run>/process/<party>/<what>`: what other processes may read of
it (cmdline, environ), its progress, and `shown`, the repr and str of every object of ours that was alive.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.harness.parties import Ended, Parties, Running
from benchmarks.harness.ports import free_ports
from benchmarks.harness.scripts.cases import Case, Method
from benchmarks.harness.series import follow
from secure_hfl import run_options
from secure_hfl.cli.app import app
from secure_hfl.tasks import create_task, join_task
from tests.secrets.keeping_proxy import KeepingProxy
from tests.secrets.search import Secret

HERE = Path(__file__).parent
HOST, OTHER = "party0", "party1"
MARKER = "secret-value-4711"  # what the failing user's code says of its own data
RUNS = {"plain": "plain", "bfv": "bfv", "masked": "masked", "paillier": "paillier", "failing": "bfv"}
CASES = {("failing", OTHER): Case(raises=Method.ITERATE_TRAIN_FEATURE_LATER)}
SPIED_TASK = 60.0  # quiet seconds
ROUNDS = {"failing": 2}
FAILURE = "error: party1 stopped in training round 2, batch 2: UserCodeError"


@dataclass
class Evidence:
    """What is left of the runs; `modes` are of files and directories."""

    ended: dict[str, Ended] = field(default_factory=dict)
    secrets: list[Secret] = field(default_factory=list)
    places: dict[str, bytes] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    proxies: dict[str, KeepingProxy] = field(default_factory=dict)


def gather(directory: Path) -> Evidence:
    """Run every task of `RUNS`, one after another, in two processes; then look."""
    evidence = Evidence()
    with _no_umask():  # the parties inherit it
        parties = Parties(directory)
        tasks = {run: _new_task(parties, run, scheme, evidence) for run, scheme in RUNS.items()}
        running = {name: _start(parties, name, tasks) for name in parties.names}
        follow(running, len(tasks), SPIED_TASK)
        evidence.ended = {name: party.ended() for name, party in running.items()}
        parties.stop()
    broken = [ended.err for ended in evidence.ended.values() if FAILURE not in ended.err]
    assert not broken, broken[0]
    for run, proxy in evidence.proxies.items():
        proxy.close()
        evidence.places[f"{run}/tcp"] = b"".join(each.from_client + each.from_server for each in proxy.connections)
    for name in parties.names:
        _keep_output(parties, name, tasks, evidence)
        _keep_side(directory / "side" / name, name, evidence)
        _keep_commands(parties, name, tasks, evidence)
    evidence.secrets.append(Secret(f"{OTHER} text of a user's error", "text", MARKER.encode()))
    return evidence


@contextmanager
def _no_umask() -> Iterator[None]:
    umask = os.umask(0)
    try:
        yield
    finally:
        os.umask(umask)


def _new_task(parties: Parties, run: str, scheme: str, evidence: Evidence) -> str:
    """A task whose host is reached through a proxy; its id."""
    (port,) = free_ports(1)
    proxy = evidence.proxies[run] = KeepingProxy(port)
    pems = {OTHER: parties.identities[OTHER].certificate_pem}
    address = f"127.0.0.1:{port}"
    record, invite = create_task(parties.store(HOST), parties.identities[HOST], run, address, scheme, pems, HOST)
    through = invite.model_copy(update={"address": proxy.address})
    join_task(parties.store(OTHER), parties.identities[OTHER], through, scheme)
    return record.task_id


def _start(parties: Parties, name: str, tasks: dict[str, str]) -> Running:
    side, temporary = parties.directory / "side" / name, parties.directory / "temporary" / name
    for path in (side, temporary):
        path.mkdir(parents=True)
    rows = [
        {
            "name": run,
            "task": task,
            "rounds": ROUNDS.get(run, 1),
            "case": parties.values(name, CASES.get((run, name))),
        }
        for run, task in tasks.items()
    ]
    environment = {"SPIED": json.dumps({"side": str(side), "rows": rows}), "TMPDIR": str(temporary)}
    return parties.start(name, str(HERE / "spied_party.py"), "--traceback", environment=environment, is_real=True)


def _keep_output(parties: Parties, name: str, tasks: dict[str, str], evidence: Evidence) -> None:
    ended = evidence.ended[name]
    evidence.places |= {f"stdout/{name}": ended.out.encode(), f"stderr/{name}": ended.err.encode()}
    for root, kind in ((parties.homes[name], "home"), (parties.directory / "temporary" / name, "temporary")):
        for path in (root, *root.rglob("*")):
            place = f"{kind}/{name}/{path.relative_to(root)}"
            for run, task in tasks.items():
                place = place.replace(task, run)
            evidence.modes[place] = stat.S_IMODE(path.stat().st_mode)
            if path.is_file():
                evidence.places[place] = path.read_bytes()


def _keep_side(side: Path, name: str, evidence: Evidence) -> None:
    for path in side.rglob("*"):
        run, *rest = path.relative_to(side).parts
        if rest == ["secrets.jsonl"]:
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            evidence.secrets += [Secret(f"{name} {line[0]}", line[1], bytes.fromhex(line[2])) for line in lines]
        elif path.is_file():
            evidence.places["/".join([run, *(rest[:-1] or ["process"]), name, rest[-1]])] = path.read_bytes()


def _keep_commands(parties: Parties, name: str, tasks: dict[str, str], evidence: Evidence) -> None:
    """What the commands print that look at a home afterwards, and the reports of the audit."""
    commands = [["--help"], ["doctor"], ["doctor", "--json"], ["identity"], ["task", "list", "--json"]]
    commands += [["task", "show", run, *more] for run in tasks for more in ([], ["--json"])]
    for command in commands:
        evidence.places[f"command/{name}/{' '.join(command)}"] = _output(parties, name, command)
    for run, task in tasks.items():
        html, report = (parties.directory / f"{name}-{run}.{kind}" for kind in ("html", "json"))
        files = [next((parties.store(end).directory(task) / "transcripts").iterdir()) for end in parties.names]
        files = files if name == HOST else files[::-1]
        command = ["audit", *map(str, files), "--html", str(html), "--json", str(report)]
        evidence.places[f"command/{name}/audit {run}"] = _output(parties, name, command)
        evidence.places[f"report/{name}/{run}.html"] = html.read_bytes()
        evidence.places[f"report/{name}/{run}.json"] = report.read_bytes()


def _output(parties: Parties, name: str, command: list[str]) -> bytes:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SECURE_HFL_HOME", str(parties.homes[name]))
        patched.setattr(run_options, "_active", None)
        return CliRunner().invoke(app, command).output.encode()
