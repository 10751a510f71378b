"""Makes clinic.csv and laboratory.csv: python -m secure_hfl.examples.tables.make_tables [DIRECTORY]

Needs scikit-learn (extra `examples`).
"""

from __future__ import annotations

import sys
from pathlib import Path

from sklearn.datasets import load_breast_cancer

from secure_hfl.examples.samples import position
from secure_hfl.examples.tables import CLINIC, ID, LABEL, LABORATORY

MEASUREMENTS = {
    CLINIC.name: ("texture", "smoothness", "symmetry", "fractal dimension"),
    LABORATORY.name: ("radius", "perimeter", "area", "compactness", "concavity", "concave points"),
}
OWN = {CLINIC.name: 85, LABORATORY.name: 84}
"""Samples that only this party has; the other 400 both have."""


def texts() -> dict[str, bytes]:
    """The files by name. The laboratory's has a byte order mark, semicolons and decimal commas."""
    data = load_breast_cancer()
    names = [f"T-{row:04d}" for row in range(len(data.data))]
    shuffled = sorted(names, key=lambda name: position(f"tables {name}"))
    left_out = {LABORATORY.name: shuffled[: OWN[CLINIC.name]], CLINIC.name: shuffled[-OWN[LABORATORY.name] :]}
    made = {}
    for file, wanted in MEASUREMENTS.items():
        stems = [
            name.removeprefix("mean ").removeprefix("worst ").removesuffix(" error") for name in data.feature_names
        ]
        at = [number for number, stem in enumerate(stems) if stem in wanted]
        lines = [[ID, *(data.feature_names[number] for number in at)]]
        for name, row, target in zip(names, data.data, data.target):
            if name not in left_out[file]:
                lines.append([name, *(f"{row[number]:.5g}" for number in at)])
                if file == CLINIC.name:
                    lines[-1].append("malignant" if target == 0 else "benign")
        if file == CLINIC.name:
            lines[0].append(LABEL)
        made[file] = _written(lines, is_german=file == LABORATORY.name)
    return made


def _written(lines: list[list[str]], is_german: bool) -> bytes:
    if not is_german:
        return "".join(",".join(line) + "\n" for line in lines).encode()
    german = [[cell.replace(".", ",") for cell in line] for line in lines]
    return "".join(";".join(line) + "\r\n" for line in german).encode("utf-8-sig")


def main() -> None:
    """Write both."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else CLINIC.parent
    for name, content in texts().items():
        (directory / name).write_bytes(content)


if __name__ == "__main__":
    main()
