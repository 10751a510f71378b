"""One party's test that the other's ciphertexts and keys hold a matrix, and no more: in the shape of a batch.

    tester (X, M; holds [P]_O)                                           owner of P
    FormQuery [X P + M]_O, seed, C of the differences of M  ---------->  Y = what it decrypts
                                                            <----------  EqualityProof of the differences of Y
    EqualityConfirmation                                    ---------->

X has the rows of the batch that comes next, and its product has the same shape as that batch's own: the collaborator's
[a U^T + ...]_H, which follows, or the host's [dz V + ...]_C. A public seed pairs rows at random and gives each pair a
sign s. In X, row q of a pair is s times row p; each row p is uniform, with entries as large as rows of the layer's
bound on norms may have throughout. So whatever matrix P is, X P has differences row p - s row q of 0, and what is
compared is those of M. M is uniform.

Tested is what is new: the first batch of a conversation, any that has more rows than those before it, and of the
other batches behind a step one in `test_shares_every`, by a coin that the owner cannot foresee. A batch of one row is
never tested: it has no other to be paired with.

**Theorem** (malicious owner; random oracle and assumption of protocols/layer/equality.py; the product's results are
linear in the factor, as they are in bfv and paillier for any ciphertext and key). Let row i of the results get E_ij
times row j of the factor. If an E_ij with i != j has an entry f that is not 0, or two E_ii differ by one, and 2^v is
the power of two in f, then the test fails with probability at least (1 - 2/(B - 1)) (1 - 2^-n) / 4 for batches of B
rows (of fewer than four that says nothing), where n = min(b + 1, 57 - v) and entries of X are -2^b to 2^b - 1. For Y is
masked, so the owner passes only if it has guessed the differences of E X. Pair p, q gets from pair p', q' the block
E_pp' + s' E_pq' - s E_qp' - s s' E_qq' times row p'. Summed over the four pairs of signs this is 4 E_pp' (and from
itself, over two, 2 (E_pp - E_qq)), so for one of them it is not 0 modulo 2^(v + 3), and times a uniform entry it takes
no value more often than once in 2^n. A lie that reaches many rows fails in nearly every draw, as each pair has signs
and rows of its own: those of tests/attacks/test_more_than_a_matrix.py always did. A matrix that is the same for all
rows, but not the owner's share, is found by the other tests (share_test.py, relation_test.py, share_marks.py).

While the owner answers, the tester computes its own part of the batch, and sends it once the test is passed: why that
changes nothing is in relation_test.py.

For the owner (malicious tester): it sends no number, and each test is one guess at the differences of Y.

**What this does not cover** An f that is no whole number: decryption rounds what it adds, and to the owner what is
rounded away shows features, or dz, as flooding is made for honest noise. In two rows of a pair fractions cancel, so
this test sees none that its owner does not want seen (tests/attacks/test_fractions.py; a judge does). Lies of the top
two bits (v > 56). Operands that are used once: results of `CheckQuery` and of `StepGradient` are under uniform masks,
and what a `StepGradient` adds to W is a step that the host could not choose so freely otherwise, but makes in any case.

**Leaks** that a form was tested, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from protocols.core.errors import MalformedMessage
from protocols.core.randomness import OsRandomness, Randomness, expand
from protocols.core.sender import Sender
from protocols.core.steps import Meanwhile, Send, Steps
from protocols.he.interface import RING_BITS, EncryptedOperand
from protocols.layer.equality import Comparison
from protocols.layer.shapes import Integers, Ring, negative, subtract
from protocols.layer.weight_share import WeightShare
from protocols.schemes.shares.products import Parts
from protocols.schemes.shares.relation_test import is_drawn
from protocols.schemes.shares.test_messages import FormQuery

Multiply = Callable[[Integers, EncryptedOperand, Ring], Parts]


class FormTest:
    """Tests the form of the other side's ciphertexts, and answers its tests of ours.

    Args:
        sender: which side this is.
        share: its share.
        every: one in so many batches behind a step is tested; 0: none.
        randomness: of coins, X and M.
    """

    def __init__(self, sender: Sender, share: WeightShare, every: int, randomness: Randomness) -> None:
        self._sender, self._share, self._every, self._randomness = sender, share, every, randomness
        self._largest = 0  # rows of a batch whose shape was tested
        self._version = -1  # that a coin was tossed for
        self._tests = 0  # of either side

    def __repr__(self) -> str:
        return f"<FormTest at {self._share!r}>"

    @property
    def queries(self) -> tuple[type[FormQuery], ...]:
        """What the peer may send before a batch, once."""
        return (FormQuery,) if self._every else ()

    def _is_due(self, rows: int) -> bool:
        if not self._every or rows < 2:
            return False
        is_new, self._version = self._version != self._share.version, self._share.version
        if rows > self._largest:
            self._largest = rows
            return True
        return is_new and is_drawn(self._randomness, self._every)

    def run(self, multiply: Multiply, peer_share: EncryptedOperand, rows: int, meanwhile: Meanwhile) -> Steps[None]:
        """Test the form of the peer's ciphertexts before a batch of so many rows, if it is due.

        Args:
            multiply: [X P + M]_O of X, [P]_O and M, as it multiplies a batch.
            peer_share: [P]_O.
            rows: of the batch.
            meanwhile: what to compute while the peer answers, if there is a test; to be sent behind it.

        Raises:
            VerificationFailed: they hold more than a matrix.
        """
        if self._is_due(rows):
            yield from self.test(multiply, peer_share, rows, meanwhile)

    def test(self, multiply: Multiply, peer_share: EncryptedOperand, rows: int, meanwhile: Meanwhile) -> Steps[None]:
        """Test it, due or not. Arguments and errors as `run`."""
        seed, (width, columns, bits) = OsRandomness().seed(), self._share.shapes.form_test(self._sender)
        pairing = Pairing(seed, rows)
        drawn = self._randomness.ring((rows, width), bits + 1).view(np.int64) - (1 << bits)
        mask = self._randomness.ring((rows, columns), RING_BITS)
        parts = multiply(pairing.paired(drawn), peer_share, mask)
        comparison = Comparison(self._sender, self._place(self._sender), pairing.differences(mask))
        yield Send(FormQuery(self._share.version, rows, seed, parts, comparison.element))
        meanwhile()
        yield from comparison.verify(self._more_than_a_matrix(self._sender.other))

    def answer(self, decrypt: Callable[[Parts, int], Ring], query: FormQuery, rows: int) -> Steps[None]:
        """Show that our ciphertexts hold a matrix. Raises `VerificationFailed`.

        Args:
            decrypt: what comes of a batch of so many rows.
            query: the peer's.
            rows: of the batch under way.
        """
        self._share.check_version("FormQuery", query.version)
        if query.rows != rows:
            raise MalformedMessage(f"FormQuery is about a batch of {query.rows} rows, this one has {rows}")
        value = Pairing(query.seed, rows).differences(decrypt(query.parts, rows))
        comparison = Comparison(self._sender, self._place(self._sender.other), value)
        yield from comparison.prove(query.element, self._more_than_a_matrix(self._sender))

    def _place(self, tester: Sender) -> bytes:
        self._tests += 1
        return self._share.place(f"form of the {tester.other.role}'s ciphertexts|{self._tests}")

    def _more_than_a_matrix(self, owner: Sender) -> str:
        return (
            f"the {owner.role}'s ciphertexts or keys for {self._share.label} hold more than its share of the weights: "
            "it made them otherwise than it should. Nothing can be trusted from here on"
        )


class Pairing:
    """Which rows a seed pairs, and by which signs; with an odd number of rows, one is left alone.

    Args:
        seed: public.
        rows: how many.
    """

    def __init__(self, seed: bytes, rows: int) -> None:
        stream = expand(seed)
        order = np.argsort(stream.ring((rows,), RING_BITS), kind="stable")
        half = rows // 2
        self._first, self._second = order[:half], order[half : 2 * half]
        self._is_plus = stream.ring((half, 1), 1).astype(bool)

    def paired(self, drawn: Integers) -> Integers:
        """These rows, the second of each pair replaced by the first times the sign."""
        rows, first = drawn.copy(), drawn[self._first]
        rows[self._second] = np.where(self._is_plus, first, -first)
        return rows

    def differences(self, ring: Ring) -> Ring:
        """First row less the sign times the second, of each pair."""
        second = ring[self._second]
        return subtract(ring[self._first], np.where(self._is_plus, second, negative(second)))
