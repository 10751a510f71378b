"""Every scheme on the tutorial's task, paillier's whole epochs too: `secure-hfl bench` with the README's settings.

    python -m benchmarks.schemes [any option of secure-hfl bench]

All schemes take turns, run by run, beside the same models in one process; about six minutes.
"""

from __future__ import annotations

import sys

from secure_hfl.cli.app import app

if __name__ == "__main__":
    app(["bench", "--schemes", "all", "--whole", *sys.argv[1:]], prog_name="secure-hfl")
