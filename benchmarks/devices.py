"""Parties whose models are on different devices train as one process on the CPU does.

    python -m benchmarks.devices --host cuda --collaborator cpu
    python -m benchmarks.devices --host cpu --collaborator cuda --amp     in float16, the Host with a GradScaler

Exit code 1 if a loss differs by more than 1e-4, or in float16 by more than 0.01.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.harness.parties import Parties
from benchmarks.harness.scripts.cases import Case
from benchmarks.harness.scripts.tiny import train_in_one_process


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
        try:
            running = [
                parties.start(
                    name,
                    "device_party.py",
                    case=Case(arguments={"max_rounds": 2} if name == "party0" else {}),
                    environment={"DEVICE": device, "AMP": "1" if options.amp else ""},
                    with_python=True,
                )
                for name, device in devices.items()
            ]
            ended = [party.ended() for party in running]
        finally:
            parties.stop()
    if any(each.code for each in ended):
        sys.exit("".join(each.err for each in ended))
    losses = json.loads(ended[0].out.splitlines()[-1])
    expected, _ = train_in_one_process(2, 2)
    if options.amp:  # the first steps of a GradScaler may be skipped while it looks for its scale
        losses, expected = losses[:1], expected[:1]
    difference = max(abs(ours - theirs) for ours, theirs in zip(losses, expected, strict=True))
    print(f"{devices}: losses {losses}, at most {difference:.1e} from those of one process")
    sys.exit(difference > (1e-2 if options.amp else 1e-4))


if __name__ == "__main__":
    main()
