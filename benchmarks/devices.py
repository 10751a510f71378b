"""Parties whose models are on different devices train as one process on the CPU does, and predict then.

    python -m benchmarks.devices --host cuda --collaborator cpu
    python -m benchmarks.devices --host cpu --collaborator cuda --amp     in float16, the Host with a GradScaler

Exit code 1 if a loss differs by more than 1e-4, or in float16 by more than 0.01, or if nothing can be predicted.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.harness.parties import Parties, Running
from benchmarks.harness.scripts.cases import Case
from benchmarks.harness.scripts.tiny import train_in_one_process

Environments = Mapping[str, Mapping[str, str]]


def training(parties: Parties, environments: Environments) -> list[Running]:
    """Two rounds."""
    return [
        parties.start(
            name,
            "device_party.py",
            case=Case(arguments={"max_rounds": 2} if name == "party0" else {}),
            environment=environments[name],
            with_python=True,
        )
        for name in parties.names
    ]


def predicting(parties: Parties, environments: Environments, directory: Path) -> list[Running]:
    """A session about two ids."""
    (directory / "ids.txt").write_text("100\n127\n")
    asking = "--ids", str(directory / "ids.txt"), "--out", str(directory / "out.csv")
    options = {"party0": ("predict", asking), "party1": ("serve", ("--sessions", "1"))}
    return [
        parties.start(name, "device_party.py", *more, command=command, environment=environments[name])
        for name, (command, more) in options.items()
    ]


def main() -> None:
    """One task between processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="cuda", metavar="DEVICE")
    parser.add_argument("--collaborator", default="cpu", metavar="DEVICE")
    parser.add_argument("--amp", action="store_true", help="in float16")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="secure-hfl-devices-") as directory:
        parties = Parties(Path(directory))
        parties.new_task()
        devices = dict(zip(parties.names, (options.host, options.collaborator)))
        environments = {name: {"DEVICE": device, "AMP": "1" if options.amp else ""} for name, device in devices.items()}
        try:
            ended = [party.ended() for party in training(parties, environments)]
            if not any(each.code for each in ended):
                ended += [party.ended() for party in predicting(parties, environments, Path(directory))]
        finally:
            parties.stop()
    if any(each.code for each in ended):
        sys.exit("".join(each.err for each in ended))
    losses = json.loads(ended[0].out.splitlines()[-1])
    expected, _ = train_in_one_process(2, 2)
    if options.amp:  # the first steps of a GradScaler may be skipped while it looks for its scale
        losses, expected = losses[:1], expected[:1]
    difference = max(abs(ours - theirs) for ours, theirs in zip(losses, expected, strict=True))
    print(f"{devices}: losses {losses}, at most {difference:.1e} from those of one process; predicted with")
    sys.exit(difference > (1e-2 if options.amp else 1e-4))


if __name__ == "__main__":
    main()
