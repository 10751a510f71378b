"""The parts of a task's page that change while somebody looks: what is read for them, and how they are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

from markupsafe import Markup, escape
from starlette.requests import Request

from secure_hfl.console.context import context_of, words_of
from secure_hfl.console.figures import Figures, duration
from secure_hfl.console.log_tail import clean
from secure_hfl.console.page import fragment
from secure_hfl.live.reader import StoryReader
from secure_hfl.live.story import STEPS, RunStory
from secure_hfl.progress_file import NAME
from secure_hfl.supervision.data_check import CheckVerdict, DataCheckRun
from secure_hfl.supervision.local_party import LocalParty, PartyState, PartyStatus
from secure_hfl.supervision.script_folders import ScriptFolders
from secure_hfl.supervision.supervised import Started
from secure_hfl.supervision.table_script import TableScriptRun, suggested_columns
from secure_hfl.tasks import TaskRecord, TaskState
from secure_hfl.tasks.view import state_of

PARTS = ("badge", "notice", "steps", "people", "controls", "table", "check", "charts")
_BROKEN = (PartyState.FAILED, PartyState.KILLED, PartyState.STOPPED)


@dataclass(frozen=True)
class TableSeen:
    """Of the last table from which a script was made.

    Attributes:
        is_running: it is looked at now.
        has_failed: it cannot be used.
        script: what was written.
        said: what was found in it, or why not.
    """

    is_running: bool = False
    has_failed: bool = False
    script: Path | None = None
    said: str = ""


@dataclass(frozen=True)
class Seen:
    """What is known of a task at a moment.

    Attributes:
        record: the task's.
        status: of this party's process.
        check: the last data check's verdict.
        is_checking: one is under way.
        is_outdated: the script has changed since.
        table: what a script is made from, how that stands, and what was said of it.
        script: the key of the script that was checked or run last; "": none was.
        story: of the last run.
    """

    record: TaskRecord
    status: PartyStatus
    check: CheckVerdict | None
    is_checking: bool
    is_outdated: bool
    script: str
    table: TableSeen
    story: RunStory

    @property
    def is_quiet(self) -> bool:
        """Whether nothing goes on that could change soon."""
        return not self.is_checking and not self.table.is_running and not self.status.state.is_live


class TaskParts:
    """Reads one task again and again, and draws what a page shows of it.

    Args:
        request: whose language it is, and which task.
        task_id: its full id.
    """

    def __init__(self, request: Request, task_id: str) -> None:
        context = context_of(request)
        self._request, self._store = request, context.store
        self._scripts = ScriptFolders(context.scripts)
        self._task_id = task_id
        self.party = LocalParty(self._store, task_id)
        self.check = DataCheckRun(self._store, task_id)
        self.table = TableScriptRun(self._store, task_id)
        self.reader = StoryReader(self._store.directory(task_id) / NAME)
        self._drawn: tuple[object, dict[str, Markup]] | None = None

    def look(self) -> Seen:
        """What is known now."""
        record = self._store.get(self._task_id)
        self.reader.update()
        status, check, table = self.party.status(record), self.check, self._table()
        script = _chosen(table, status.started, check.last)
        checked = check.verdict(), check.is_running, check.is_outdated()
        return Seen(record, status, *checked, script, table, self.reader.story)

    def draw(self, seen: Seen) -> dict[str, Markup]:
        """Every part, by name."""
        key = self.reader.position, seen.record, seen.status, seen.check, seen.is_checking, seen.is_outdated, seen.table
        if self._drawn is not None and self._drawn[0] == key:
            return self._drawn[1]
        words = words_of(self._request)
        values = {
            "seen": seen,
            "record": seen.record,
            "status": seen.status,
            "story": seen.story,
            "state": state_of(self._store, seen.record),
            "steps": steps(seen),
            "online": _online(seen),
            **self._to_choose(seen),
            "lines": escape,
            "chosen": seen.script,
            "figures": Figures(seen.story, words),
            "ends_at": _ends_at(seen),
            "duration": partial(duration, words),
        }
        drawn = {name: fragment(self._request, f"part_{name}.html.j2", **values) for name in PARTS}
        self._drawn = key, drawn
        return drawn

    def _to_choose(self, seen: Seen) -> dict[str, object]:
        """What a person may start with; nothing while there is nothing to start."""
        can_start = seen.status.can_start
        return {
            "choices": self._scripts.choices(seen.record) if can_start else [],
            "tables": self._scripts.tables() if can_start else [],
            "columns": suggested_columns(self._scripts) if can_start else [],
            "folders": self._scripts.folders,
        }

    def _table(self) -> TableSeen:
        run = self.table
        return TableSeen(run.is_running, run.has_failed(), run.script(), clean(run.said()))


def steps(seen: Seen) -> list[tuple[str, str]]:
    """Name and state of each step: "done", "now", "todo", "skipped", "unsure" or "broken"."""
    at = _where(seen)
    found = []
    for number, name in enumerate(STEPS):
        if name == "check":
            found.append((name, _check_state(seen, has_begun=at > 0)))
        elif seen.record.finished or number < at:
            found.append((name, "done"))
        elif number == at:
            found.append((name, "broken" if seen.status.state in _BROKEN else "now"))
        else:
            found.append((name, "todo"))
    return found


def _where(seen: Seen) -> int:
    """Which step is under way, or was when the run ended; 0: it has not begun."""
    state = seen.status.state
    if state is PartyState.STARTING and seen.story.ended:
        return STEPS.index("wait")  # the story is still the one before
    if state is PartyState.IDLE:
        return 0
    return STEPS.index(seen.story.step) if seen.story.step else int(state.is_live)


def _check_state(seen: Seen, has_begun: bool) -> str:
    if seen.is_checking:
        return "now"
    kept = seen.record.data_check
    if (kept is not None and not kept.passed) or (seen.check is not None and seen.check.verdict == "not ready"):
        return "broken"
    if kept is None and seen.check is not None and seen.check.verdict == "unsure":
        return "unsure"
    if kept is not None or seen.check is not None:
        return "done"
    return "skipped" if has_begun or seen.record.finished else "todo"


def _online(seen: Seen) -> Mapping[str, str]:
    """By participant: "here", "away" (not yet), "gone" (its connection broke), "unknown", or "self"."""
    story, is_live = seen.story, seen.status.state.is_live and not seen.story.ended
    found = {}
    for party in seen.record.participants:
        if party.name == seen.record.party:
            found[party.name] = "self"
        elif not is_live:
            found[party.name] = "unknown"
        elif seen.record.role == "collaborator" and party.role == "collaborator":
            found[party.name] = "unknown"  # collaborators are connected to the host only
        else:
            is_here = any(story.present.get(key) for key in _keys(party.name, party.role))
            found[party.name] = "here" if is_here else "gone" if story.interrupted else "away"
    return found


def _keys(name: str, role: str) -> tuple[str, ...]:
    """What a run may call a party: a collaborator calls the host so."""
    return (name, "host") if role == "host" else (name,)


def _chosen(table: TableSeen, *started: Started | None) -> str:
    """The script that was checked or run last, or was just made."""
    last = max((each for each in started if each is not None), key=lambda each: each.began_at, default=None)
    if last is None and table.script is not None:
        return str(table.script)
    return last.what.get("key", "") if last is not None else ""


def _ends_at(seen: Seen) -> datetime | None:
    remaining = seen.story.remaining()
    if remaining is None or not seen.status.state.is_live or seen.record.state is not TaskState.RUNNING:
        return None
    return datetime.fromtimestamp(seen.story.last_at, timezone.utc) + timedelta(seconds=remaining)
