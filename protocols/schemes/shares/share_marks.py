"""Behind a resumption: has the other side come back with the very share that it had?

    tester (c, m; holds [P]_O)                            owner of P, key O
    before a checkpoint
    ShareMark [c P + m]_O         ------------------->    keeps w = c P + m
    keeps (c, m)
    resumed                                               fresh key O', says [P']_O'
    MarkQuery [c P' + m']_O', X   ------------------->    w' = c P' + m'
    of m' - m                     <-------------------    EqualityProof of w' - w
    EqualityConfirmation          ------------------->

P is U^T to the collaborator and V to the host. A share is marked once for each of its versions of which a checkpoint is
made: the first one by its test (relation_test.py), whose [c P + m]_O is a mark; a later one by a message of its own, if
`test_shares_every` is not 0. c has FIRST_TEST_ROWS rows of entries -1, 0, 0, 1; m and m' are uniform.

**Theorem** (malicious owner whose ciphertexts hold a matrix, with honest noise; random oracle and assumption of
protocols/layer/equality.py). Let P be what the tester held at the checkpoint, and D = P' - P. w and w' are uniform and
independent of c, and w' - w - (m' - m) = c D. So the owner passes exactly if it has guessed c D. If D is not 0, also
where it is a multiple of 2^58, no value of c D has a probability above 2^-40: one entry of D that is not 0 adds -1, 0
or 1 times itself to each row, no value of which is more likely than one half. All resumptions from one checkpoint ask
by the same c, and each says whether one guess was right. So another share passes one of n with probability at most
n 2^-40.

**More than a matrix** in a ciphertext can reach one row of the 40: then one entry of c decides, and the owner learns it
(tests/attacks/test_mark_row_by_row.py). n tests have 2^(n - 1) outcomes before the last, so one of n is passed by
another matrix with probability at most 2^(n - 41). So the first failure is the last, in training and in predictions,
until a person at the tester says otherwise (secure_hfl/failed_test.py): who never fails has guessed all 40 rows, with
probability 2^-40.

An honest owner passes always: D is 0, and so w' - w is m' - m in the ring.

For the owner (malicious tester): it sends no number. The tester gets one guess at w' - w for each resumption.

**What this does not cover** What P was: that is tested where it was made (share_test.py, relation_test.py), in scheme
"masked" before the mark, in the others by the next batch, if the run is not interrupted before it. What the ciphertexts
hold besides a matrix: form_test.py; fractions, which show c: tests/attacks/test_fractions.py. An owner that has lost w
cannot go on.

**Leaks** nothing: what is decrypted is uniform, and what is compared both know.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from protocols.core.errors import CallOutOfOrder, InvalidInput
from protocols.core.message import Array, check_array
from protocols.core.randomness import Randomness
from protocols.core.sender import Sender
from protocols.core.steps import Receive, Send, Steps, received
from protocols.he.interface import RING_BITS, EncryptedOperand
from protocols.layer.equality import Comparison
from protocols.layer.shapes import FIRST_TEST_ROWS, Integers, Ring, subtract
from protocols.layer.weight_share import WeightShare
from protocols.schemes.shares.products import ShareProducts
from protocols.schemes.shares.relation_test import Mark, ternary
from protocols.schemes.shares.test_messages import MarkQuery, ShareMark

_PREFIX = "mark_"
_COMBINATION, _MASK, _RESULT = (_PREFIX + name for name in ("combination", "mask", "result"))


class ShareMarks:
    """The newest marks of both shares, as one side keeps them.

    Args:
        sender: which side.
        share: its share.
        randomness: of c and m.
        marks, is_marked: whether this side marks the peer's share, and its own is marked by the peer.
    """

    def __init__(
        self, sender: Sender, share: WeightShare, randomness: Randomness, marks: bool, is_marked: bool
    ) -> None:
        self._sender, self._share, self._randomness = sender, share, randomness
        self._marks, self._is_marked = marks, is_marked
        self._version: int | None = None  # of the weights that they are of
        self._mark: Mark | None = None
        self._result: Ring | None = None  # w

    def __repr__(self) -> str:
        return f"<ShareMarks at {self._share!r}>"

    @property
    def is_due(self) -> bool:
        """Whether the shares in force have no marks yet."""
        return self._version != self._share.version

    @property
    def _shapes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(k, n) of the peer's share, and of ours."""
        d, o = self._share.shapes.d, self._share.shapes.o
        of_host, of_collaborator = (d, o), (o, d)
        is_host = self._sender is Sender.HOST
        return (of_collaborator, of_host) if is_host else (of_host, of_collaborator)

    # Marking ---------------------------------------------------------------------------------------------------------

    def keep(self, mark: Mark | None, result: Ring | None) -> None:
        """What the tests of the first shares have left."""
        self._mark, self._result, self._version = mark, result, self._share.version

    def exchange(self, products: ShareProducts, peer_share: EncryptedOperand | None) -> Steps[None]:
        """Mark the shares in force, if that is not done yet. Both sides do so before the same checkpoints."""
        if self._version == self._share.version or not (self._marks or self._is_marked):
            return
        mark = result = None
        if self._marks:
            if peer_share is None:
                raise CallOutOfOrder("the peer's share has not come")
            mark = Mark(self._combination(), self._fresh_mask())
            parts = products.combine_share(mark.combination, peer_share, mark.mask, 0)
            yield Send(ShareMark(self._share.version, parts))
        if self._is_marked:
            message = received((yield Receive(ShareMark)), ShareMark)
            self._share.check_version("ShareMark", message.version)
            result = products.decrypt_combined(message.parts, 0)
        self.keep(mark, result)

    def _combination(self) -> Integers:
        return ternary(self._randomness, FIRST_TEST_ROWS, self._shapes[0][0])

    def _fresh_mask(self) -> Ring:
        return self._randomness.ring((FIRST_TEST_ROWS, self._shapes[0][1]), RING_BITS)

    # Behind a resumption ---------------------------------------------------------------------------------------------

    def ask(self, products: ShareProducts, peer_share: EncryptedOperand | None) -> Steps[None]:
        """Test that the peer's share is the one that was marked. Raises `VerificationFailed`."""
        if not self._marks:
            return
        if peer_share is None or self._mark is None:
            raise CallOutOfOrder("there is no share of the peer, or no mark of it")
        mask = self._fresh_mask()
        parts = products.combine_share(self._mark.combination, peer_share, mask, 0)
        comparison = Comparison(self._sender, self._place(self._sender), subtract(mask, self._mark.mask))
        yield Send(MarkQuery(self._share.version, parts, comparison.element))
        yield from comparison.verify(self._other_share(self._sender.other))

    def answer(self, products: ShareProducts) -> Steps[None]:
        """Show that our share is the one that was marked. Raises `VerificationFailed`."""
        if not self._is_marked:
            return
        query = received((yield Receive(MarkQuery)), MarkQuery)
        self._share.check_version("MarkQuery", query.version)
        if self._result is None:
            raise CallOutOfOrder("our share has no mark")
        value = subtract(products.decrypt_combined(query.parts, 0), self._result)
        comparison = Comparison(self._sender, self._place(self._sender.other), value)
        yield from comparison.prove(query.element, self._other_share(self._sender))

    def _place(self, tester: Sender) -> bytes:
        return self._share.place(f"share of the {tester.other.role}, resumed")

    def _other_share(self, owner: Sender) -> str:
        return (
            f"the {owner.role} has come back with another share of the weights for {self._share.label} than it had at "
            "the checkpoint: its checkpoint was changed, or it cheats. Nothing can be trusted from here on"
        )

    # Checkpoints -----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Array]:
        """For a checkpoint: mark_combination [40, k] int64 and mark_mask [40, n] uint64 of the peer's share,
        mark_result [40, n] uint64 of ours, as far as there are any. Secret.

        Raises:
            CallOutOfOrder: the share in force has no mark.
        """
        if (self._marks or self._is_marked) and self._version != self._share.version:
            raise CallOutOfOrder("before a checkpoint, both sides mark the shares (`before_checkpoint`)")
        return self.newest()

    def newest(self) -> dict[str, Array]:
        """The same, for the results; nothing if the share in force has no mark."""
        state: dict[str, Array] = {}
        if self._version != self._share.version:
            return state
        if self._mark is not None:
            state |= {_COMBINATION: self._mark.combination.copy(), _MASK: self._mark.mask.copy()}
        if self._result is not None:
            state[_RESULT] = self._result.copy()
        return state

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take what `state` gave, as far as this side needs it: a prediction tests the host's share only.

        Raises:
            InvalidInput: it lacks a mark, or that is none.
        """
        where = f"the checkpoint of {self._share.label}'s layer"
        needed = ([_COMBINATION, _MASK] if self._marks else []) + ([_RESULT] if self._is_marked else [])
        missing = [name for name in needed if name not in state]
        if missing:
            raise InvalidInput(f"{where} lacks {', '.join(missing)}, by which the shares are recognised")
        (k, n), (_, own) = self._shapes
        if self._marks:
            combination, mask = state[_COMBINATION], _ring(f"{where}: {_MASK}", state[_MASK], n)
            check_array(f"{where}: {_COMBINATION}", combination, np.int64, 2, (FIRST_TEST_ROWS, k))
            if not np.isin(combination, (-1, 0, 1)).all():
                raise InvalidInput(f"{where}: {_COMBINATION} has entries other than -1, 0 and 1")
            self._mark = Mark(np.array(combination, order="C"), mask)
        if self._is_marked:
            self._result = _ring(f"{where}: {_RESULT}", state[_RESULT], own)
        self._version = self._share.version


def split_state(state: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    """A checkpoint's marks, and the rest."""
    marks = {name: array for name, array in state.items() if name.startswith(_PREFIX)}
    return marks, {name: array for name, array in state.items() if name not in marks}


def _ring(where: str, values: Array, columns: int) -> Ring:
    check_array(where, values, np.uint64, 2, (FIRST_TEST_ROWS, columns))
    if int(values.max()) >> RING_BITS:
        raise InvalidInput(f"{where} must be in Z_2^{RING_BITS}")
    return np.array(values, order="C")
