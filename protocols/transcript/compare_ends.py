"""Compares the two ends' transcripts of one conversation, message by message, in each direction."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from protocols.core.sender import Sender
from protocols.core.sentence import say
from protocols.transcript.errors import IncompleteTranscript, TranscriptError, TranscriptsDisagree
from protocols.transcript.file_auditor import FileAuditor
from protocols.transcript.format import Entry
from protocols.transcript.preamble import AgreedTerms
from protocols.transcript.report import Finding

MAX_APART = 1 << 16
"""Messages by which one end's file may run ahead of the other's while they are compared."""


class EndComparison:
    """What one end lists of a conversation, with what the other lists.

    Args:
        files: of the two ends; nothing has been fed to them.

    Attributes:
        lost: by sender, messages that it sent and the other end never received, because the run was interrupted.
    """

    def __init__(self, files: tuple[FileAuditor, FileAuditor]) -> None:
        self._files = files
        self.lost: dict[Sender, int] = {}
        self._findings: list[Finding] = []
        self._unmatched: dict[Sender, deque[tuple[Entry, bytes]]] = {sender: deque() for sender in Sender}
        self._ahead = dict.fromkeys(Sender, 0)
        self._differ: set[Sender] = set()
        self._overtook: dict[Sender, bytes] = {}

    def read(self, lines: tuple[Iterable[bytes], Iterable[bytes]]) -> None:
        """Feed both files, so that neither gets far ahead of the other."""
        sources = [iter(each) for each in lines]
        is_open = [True, True]
        while any(is_open):
            apart = sum(len(queue) * (1 - 2 * self._ahead[sender]) for sender, queue in self._unmatched.items())
            at = 1 if apart > 0 else 0
            if not is_open[at]:
                at = 1 - at
            line = next(sources[at], None)
            if line is None:
                is_open[at] = False
                continue
            taken = self._files[at].feed(line)
            if taken is not None:
                self._compare(at, *taken)
            is_open[at] = not self._files[at].is_over

    def _compare(self, at: int, entry: Entry, text: bytes) -> None:
        sender = entry.sender
        if entry.overtook:
            self._overtook[sender] = text[1:]
            return
        if sender in self._differ:
            return
        queue = self._unmatched[sender]
        if not queue or self._ahead[sender] == at:
            self._ahead[sender] = at
            if len(queue) >= MAX_APART:
                self._disagree(sender, entry, at, "the two ends are too far apart to be compared", "as many messages")
            else:
                queue.append((entry, text))
            return
        expected, expected_text = queue.popleft()
        if expected_text != text:
            what = say("the {sender} sent or the other end received something else", sender=say(sender.role))
            self._disagree(sender, entry, at, what, f"{expected} with digest {expected.digest.decode()}")

    def _disagree(self, sender: Sender, entry: Entry, at: int, problem: str, expected: str) -> None:
        self._differ.add(sender)
        self._unmatched[sender].clear()
        self._add(TranscriptsDisagree(problem, expected, entry=str(entry)), at)

    def _add(self, error: TranscriptError, at: int) -> None:
        self._findings.append(Finding.of(error, self._files[at].name))

    def finish(self, is_followed: bool) -> list[Finding]:
        """What the two ends do not agree on.

        Args:
            is_followed: the run goes on in another conversation at both ends, which says how far this one went.
        """
        one, other = self._files
        if one.terms is None or other.terms is None or one.writer is None or other.writer is None:
            return self._findings
        if one.terms != other.terms or one.writer.writer == other.writer.writer:
            self._add(_not_one_run(one.terms, other.terms), 1)
            return [self._findings[-1], *self._findings[:-1]]  # it explains the others
        for at, file in enumerate(self._files):
            self._check_writer(at, file)
        for sender in Sender:
            if sender not in self._differ:
                self._check_ends(sender, is_followed)
        return self._findings

    def _check_writer(self, at: int, file: FileAuditor) -> None:
        """What one file says of its writer must be what its signed heads said to the other end."""
        if file.writer is None:
            return
        told = self._files[1 - at].signatures.writer_digests.get(file.writer.sender)
        if told is not None and told != file.writer.digest():
            self._add(TranscriptsDisagree("what the file says of its writer is not what it had told the peer"), at)

    def _check_ends(self, sender: Sender, is_followed: bool) -> None:
        ahead = self._ahead[sender]
        rest = [text for _, text in self._unmatched[sender]]
        if sender in self._overtook:
            if self._overtook[sender] not in [text[1:] for text in rest]:
                self._disagree_on_abort(sender)
                return
            rest = rest[:-1] if rest[-1][1:] == self._overtook[sender] else rest
        longer, shorter = self._files[ahead], self._files[1 - ahead]
        is_sent = longer.writer is not None and longer.writer.sender is sender
        if is_followed and (is_sent or not rest):
            # That the receiver has no more is what it says in the next conversation (continuation_check.py).
            self.lost[sender] = len(rest)
        elif rest:
            self._missing(sender, len(rest), longer, shorter, is_followed)

    def _missing(
        self, sender: Sender, count: int, longer: FileAuditor, shorter: FileAuditor, is_followed: bool
    ) -> None:
        at = self._files.index(shorter)
        party = shorter.writer.sender if shorter.writer is not None else sender
        signed, has = longer.signatures.signed_by[party][sender], shorter.chains.count(sender)
        problem = say("{count} messages of the {sender} are missing at the end", count=count, sender=say(sender.role))
        if signed > has:
            meaning = "The end was cut off, or an older version of the file was put in its place."
            expected = say(
                "{signed} messages: the {party} itself has signed so many", signed=signed, party=say(party.role)
            )
            self._add(TranscriptsDisagree(problem, expected, meaning=meaning), at)
        elif is_followed:
            expected = say("{count} messages: so many were received at the other end", count=has + count)
            self._add(TranscriptsDisagree(problem, expected, meaning=LOST_BY_SENDER), at)
        else:
            self._add(
                IncompleteTranscript(problem, say("{count} messages, as at the other end", count=has + count)), at
            )

    def _disagree_on_abort(self, sender: Sender) -> None:
        first = self._files[0].writer
        is_host_first = first is not None and first.sender is Sender.HOST
        at = 0 if is_host_first == (sender is Sender.HOST) else 1
        self._add(TranscriptsDisagree("an Abort that the other end received is not among those sent"), at)


def _not_one_run(one: AgreedTerms, other: AgreedTerms) -> TranscriptsDisagree:
    """Two files that cannot be compared: most often a file that was meant for another audit."""
    problem, expected = "these are not the two ends of one run", "one task, session and manifest"
    if one.task_id != other.task_id:
        problem += f": one is of task {one.task_id}, the other of {other.task_id}"
    elif one == other:
        problem += ": both were written by the same party"
        expected = "the host's file and the collaborator's"
    return TranscriptsDisagree(problem, expected, meaning=NOT_ONE_RUN)


NOT_ONE_RUN = (
    "Another file was named than was meant, and nothing else that is said of both together counts. If it was meant, "
    "one of the two was changed, or the host made each believe in another task."
)

LOST_BY_SENDER = (
    "What was sent is recorded before it leaves: the sender's machine lost what was not yet on its disk, or the end of "
    "its file was cut off."
)
