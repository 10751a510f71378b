"""The script that a table's task is run by: short, readable, with the spec as JSON beside it. It is there to be edited.

    patients-task/host.py      a subclass of `TableHost` with its networks and optimizers written out
    patients-task/host.json    what the table is; names and kinds of columns, and no row

A database's password is in neither.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from secure_hfl.errors import TableError
from secure_hfl.files import write_private
from secure_hfl.home import make_private_directory
from secure_hfl.tables.networks import LEARNING_RATE, WEIGHT_DECAY
from secure_hfl.tables.spec import LabelKind, TableSpec

_HEAD = '''"""{what}. Made by `secure-hfl table {role}`, and yours to edit. Run it with

    secure-hfl {role} {name} --task TASK

All methods of docs/writing-a-task.md can be overridden here. What the table is stands in {spec}.
"""

from pathlib import Path

import torch
from torch import nn

from secure_hfl.tables import {base}

DATA = {data}
{query}

class {title}({base}):
'''

_BOTTOM = """    def build_feature_model(self):
        return nn.Sequential(
            nn.Linear(self.encoded_width, {hidden}),
            nn.GELU(),
            nn.Linear({hidden}, {features}),
            nn.LayerNorm({features}),
        )

    def build_feature_optimizer(self, feature_model):
        return torch.optim.AdamW(feature_model.parameters(), lr={rate}, weight_decay={decay})
"""

_TOP = """    def build_infer_model(self):
        return nn.Sequential(nn.Linear(self.fused_width, {hidden}), nn.GELU(), nn.Linear({hidden}, {outputs}))

    def build_infer_optimizer(self, infer_model):
        return torch.optim.AdamW(infer_model.parameters(), lr={rate}, weight_decay={decay})
"""

_LOSS = {
    LabelKind.REGRESSION: """    def loss(self, outputs, labels):  # of the label as standardised over the training rows
        scaled = (labels - self.encoding.label_mean) / self.encoding.label_deviation
        return nn.functional.mse_loss(outputs[:, 0], scaled)
""",
    LabelKind.CLASSES: """    def loss(self, outputs, labels):  # all classes weigh the same in all
        if self.label_privacy is not None:  # whose bound weights from true labels would break
            return self.label_privacy.loss(outputs, labels)
        return nn.functional.cross_entropy(outputs, labels, weight=torch.tensor(self.encoding.class_weights))
""",
}
_LOSS[LabelKind.BINARY] = _LOSS[LabelKind.CLASSES]

_LAUNCH = """
if __name__ == "__main__":
    {role} = {title}(
        DATA,
        spec=Path(__file__).with_suffix(".json"),
{arguments}
    )
    {role}.launch_task("YOUR_TASK_ID")
"""


@dataclass(frozen=True)
class TableScript:
    """The two files of one party.

    Args:
        role: "host" or "collaborator".
        spec: of its table.
        data: the path of its table, or a database's URL without a password.
        query: SQL, for the latter.
        arguments: of the scheduler, by name; plain numbers and texts.
    """

    role: str
    spec: TableSpec
    data: str
    query: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """Of the script."""
        title, name = self.role.title(), f"{self.role}.py"
        network, label = self.spec.network, self.spec.label
        said = {"rate": LEARNING_RATE, "decay": WEIGHT_DECAY, "hidden": network.hidden, "features": network.features}
        head = _HEAD.format(
            what=self._what(),
            role=self.role,
            name=name,
            spec=f"{self.role}.json",
            base=f"Table{title}",
            title=title,
            data=_literal(self.data),
            query=f"QUERY = {_literal(self.query)}\n" if self.query else "",
        )
        parts = [_BOTTOM.format(**said)] if self.spec.columns else []
        if label is not None:
            parts += [_TOP.format(**said, outputs=len(label.classes) or 1), _LOSS[label.kind]]
        arguments = {name: _literal(value) for name, value in self.arguments.items()}
        arguments |= {"query": "QUERY"} if self.query else {}
        listed = "\n".join(f"        {key}={value}," for key, value in arguments.items())
        return head + "\n".join(parts) + "\n" + _LAUNCH.format(role=self.role, title=title, arguments=listed)

    def _what(self) -> str:
        label = self.spec.label
        if label is None:
            return "A Collaborator's task from a table"
        return f"A Host's task from a table: {label.kind.value} of {label.name!r}"

    def write(self, directory: Path, overwrite: bool) -> Path:
        """Both files. Returns the script's path.

        Raises:
            TableError: other files of these names are there, which may have been edited.
        """
        script = directory / f"{self.role}.py"
        texts = {script: self.text(), script.with_suffix(".json"): self.spec.text()}
        for path, text in texts.items():
            if path.exists() and not overwrite and path.read_text("utf-8") != text:
                raise TableError(
                    f"{path} is there and says something else: run it as it is (secure-hfl {self.role} {script}), "
                    "or say --overwrite, or another directory with --save"
                )
        try:
            make_private_directory(directory)
            for path, text in texts.items():
                write_private(path, text.encode())
        except OSError as error:
            raise TableError(f"{directory} cannot be written: {error.strerror}") from error
        return script


def _literal(value: object) -> str:
    """As Python, with the quotes that the house uses."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
