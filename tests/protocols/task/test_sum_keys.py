"""Keys that collaborators exchange through the host, and the pads from them: they cancel, and the host has none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.harness.pump import C, H, identity, replay
from protocols.core import multi_buffer
from protocols.core.envelope import Phase
from protocols.core.errors import (
    InvalidInput,
    InvalidPoint,
    MessageOutOfOrder,
    RoleAlreadyUsed,
    VerificationFailed,
    WrongSession,
)
from protocols.core.message import Message
from protocols.core.randomness import OsRandomness
from protocols.core.steps import Receive, Send, Steps
from protocols.he.interface import RING_BITS
from protocols.layer.pads import Pads, PairSeed, total
from protocols.layer.shapes import Ring, add
from protocols.task.agreement import HostAgreement, make_manifest
from protocols.task.manifest import Manifest, ManifestAccepted
from protocols.task.order import TaskOrder
from protocols.task.sum_keys import CollaboratorSumKeys, HostSumKeys, SumKey, SumKeys, signed_text
from protocols.task.terms import PairTerms
from protocols.transcript.certificates import Certificate
from protocols.transcript.messages import Checkpoint
from secure_hfl.identity import digest_of
from tests.protocols.task.test_agreement import hello, plan
from tests.protocols.task.test_order import order_of

NAMES = ("bank", "shop", "clinic", "lab")
CERTIFICATES = {
    digest_of(identity(name).certificate_pem): Certificate(identity(name).certificate_pem) for name in NAMES
}
JOIN = (int(Phase.JOIN), 0, 0)


def summed(*names: str, **changes: Any) -> Manifest:
    said = [hello(name) for name in names]
    return make_manifest(said, plan(*names, is_summed=True, **changes), [3] * len(names), OsRandomness())


def party(manifest: Manifest, name: str) -> CollaboratorSumKeys:
    return CollaboratorSumKeys(manifest, name, CERTIFICATES, identity(name).sign, OsRandomness())


def sent_keys(manifest: Manifest) -> tuple[list[Steps[Pads]], SumKeys]:
    """All collaborators' conversations, each waiting for the keys of all; and these."""
    conversations, sent = [], []
    for name in manifest.feature_keys:
        steps = party(manifest, name).run()
        step = next(steps)
        assert isinstance(step, Send)
        assert isinstance(step.message, SumKey)
        assert isinstance(next(steps), Receive)
        conversations.append(steps)
        sent.append(step.message)
    return conversations, SumKeys(tuple(each.key for each in sent), tuple(each.signature for each in sent))


def ended(steps: Steps[Pads], keys: SumKeys) -> Pads:
    """What a collaborator makes of the keys that come."""
    with pytest.raises(StopIteration) as end:
        steps.send(keys)
    pads: Pads = end.value.value
    return pads


def agreed(manifest: Manifest) -> list[Pads]:
    """All collaborators' pads."""
    conversations, keys = sent_keys(manifest)
    return [ended(steps, keys) for steps in conversations]


rings = st.integers(0, (1 << RING_BITS) - 1)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), count=st.integers(2, 4), rows=st.integers(1, 3), width=st.integers(1, 4))
def test_the_sum_of_what_is_padded_is_the_sum(data: st.DataObject, count: int, rows: int, width: int) -> None:
    parties = agreed(summed(*NAMES[:count]))
    numbers = data.draw(st.lists(rings, min_size=count * rows * width, max_size=count * rows * width))
    values: list[Ring] = list(np.array(numbers, np.uint64).reshape(count, rows, width))
    for _ in range(2):
        padded = [add(value, pads.draw(rows, width)) for value, pads in zip(values, parties, strict=True)]
        np.testing.assert_array_equal(total(padded), total(values))
        assert all((one != two).any() for one, two in zip(padded, values))


def test_no_pad_comes_twice_and_each_is_uniform() -> None:
    pads = Pads([PairSeed(bytes(32), True), PairSeed(bytes(31) + b"1", False)])
    drawn = np.concatenate([pads.draw(50, 4) for _ in range(20)]).reshape(-1)
    assert len(np.unique(drawn)) == len(drawn)
    top = np.bincount((drawn >> np.uint64(RING_BITS - 3)).astype(int), minlength=8)
    assert np.abs(top - len(drawn) / 8).max() < 5 * np.sqrt(len(drawn) / 8)  # five deviations


def test_pads_of_another_session_are_others() -> None:
    one, two = (agreed(summed("bank", "shop"))[0].draw(4, 4) for _ in range(2))
    assert (one != two).all()


def test_no_key_of_another_meets_a_kernel_that_errs_on_some_points(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, seen = multi_buffer.x25519_many, set[bytes]()

    def noting(scalar: bytes, points: bytes) -> bytes:
        seen.add(points)
        return kernel(scalar, points)

    monkeypatch.setattr(multi_buffer, "x25519_many", noting)
    agreed(summed("bank", "shop"))
    assert seen <= {(9).to_bytes(32, "little")}


def test_those_who_collude_with_the_host_know_their_own_pads_and_no_others() -> None:
    """Documented: a host with one of three has the sum of the other two, and neither of them by itself."""
    parties = agreed(summed("bank", "shop", "clinic"))
    z = [np.full((2, 2), number, np.uint64) for number in (5, 7, 11)]
    padded = [add(value, pads.draw(2, 2)) for value, pads in zip(z, parties, strict=True)]
    # It holds the seeds that the clinic has with each: it takes the clinic's pads off.
    colluder = [PairSeed(each.seed, each.adds) for each in parties[2]._seeds]
    left = [add(padded[at], Pads([seed]).draw(2, 2)) for at, seed in enumerate(colluder)]
    np.testing.assert_array_equal(total(left), z[0] + z[1])
    assert (left[0] != z[0]).all()
    assert (left[1] != z[1]).all()


# A malicious host -------------------------------------------------------------------------------------------------


def relayed(manifest: Manifest, change: Callable[[SumKeys], SumKeys]) -> Pads:
    """What the first collaborator makes of keys that the host has changed on their way."""
    conversations, keys = sent_keys(manifest)
    return ended(conversations[0], change(keys))


def put(at: int, key: bytes, signature: bytes) -> Callable[[SumKeys], SumKeys]:
    def change(keys: SumKeys) -> SumKeys:
        all_keys, all_signatures = list(keys.keys), list(keys.signatures)
        all_keys[at], all_signatures[at] = key, signature
        return SumKeys(tuple(all_keys), tuple(all_signatures))

    return change


MANIFEST = summed("bank", "shop", "clinic")
OWN = bytes(range(32))
SWAPPED: dict[str, tuple[Callable[[SumKeys], SumKeys], str]] = {
    "the host's key for another's": (put(1, OWN, b"x" * 70), "for shop is not signed by shop"),
    "signed by the host": (put(1, OWN, identity("host").sign(signed_text(MANIFEST, 1, OWN))), "not signed by shop"),
    "signed by another collaborator": (
        put(1, OWN, identity("clinic").sign(signed_text(MANIFEST, 1, OWN))),
        "not signed by shop",
    ),
    "of another session": (
        put(1, OWN, identity("shop").sign(signed_text(summed("bank", "shop", "clinic"), 1, OWN))),
        "or the host has shown shop another manifest",
    ),
    "two exchanged": (
        lambda keys: SumKeys((keys.keys[0], *keys.keys[:0:-1]), (keys.signatures[0], *keys.signatures[:0:-1])),
        "not signed by shop",
    ),
    "another key for ours": (put(0, OWN, b"x" * 70), "just these collaborators"),
    "one left out": (lambda keys: SumKeys(keys.keys[:2], keys.signatures[:2]), "just these collaborators"),
    "one more": (
        lambda keys: SumKeys((*keys.keys, OWN), (*keys.signatures, b"x" * 70)),
        "just these collaborators",
    ),
}


@pytest.mark.parametrize(("change", "reason"), SWAPPED.values(), ids=SWAPPED.keys())
def test_a_swapped_key_is_caught(change: Callable[[SumKeys], SumKeys], reason: str) -> None:
    assert isinstance(relayed(MANIFEST, lambda keys: keys), Pads)
    with pytest.raises(VerificationFailed, match=reason):
        relayed(MANIFEST, change)


def test_a_key_of_low_order_is_refused_though_its_owner_signs_it() -> None:
    signature = identity("shop").sign(signed_text(MANIFEST, 1, bytes(32)))
    with pytest.raises(InvalidPoint, match="the key of shop"):
        relayed(MANIFEST, put(1, bytes(32), signature))


def test_two_who_were_shown_other_manifests_find_out() -> None:
    """As in tests/attacks/test_two_manifests.py, but while the task runs."""
    keys = sent_keys(replace(MANIFEST, projection_lr=0.5))[1]
    with pytest.raises(VerificationFailed, match="shown shop another manifest"):
        relayed(MANIFEST, put(1, keys.keys[1], keys.signatures[1]))


# Misuse, messages, order ------------------------------------------------------------------------------------------


def test_roles_are_used_once_and_in_order() -> None:
    role = party(MANIFEST, "bank")
    next(role.run())
    with pytest.raises(RoleAlreadyUsed):
        next(role.run())
    with pytest.raises(InvalidInput, match="certificates of all"):
        CollaboratorSumKeys(MANIFEST, "bank", {}, identity("bank").sign, OsRandomness())
    relay = HostSumKeys(MANIFEST)
    replay(relay.hear("bank"), SumKey(OWN, b"x" * 70))
    with pytest.raises(RoleAlreadyUsed):
        replay(relay.hear("bank"), SumKey(OWN, b"x" * 70))
    with pytest.raises(InvalidInput, match="not all"):
        next(relay.tell())


SIGNATURE = b"x" * 70
MALFORMED: list[Callable[[], Message]] = [
    lambda: SumKey(OWN[:-1], SIGNATURE),
    lambda: SumKey(OWN, b"x" * 73),
    lambda: SumKey(OWN, b""),
    lambda: SumKeys((OWN,), (SIGNATURE,)),
    lambda: SumKeys((OWN, OWN), (SIGNATURE,)),
    lambda: SumKeys((OWN, b""), (SIGNATURE, SIGNATURE)),
    lambda: SumKeys((OWN, OWN), (SIGNATURE, b"short")),
    lambda: SumKeys((OWN,) * 257, (SIGNATURE,) * 257),
]


@pytest.mark.parametrize("make", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_messages(make: Callable[[], Message]) -> None:
    with pytest.raises(InvalidInput, match="SumKey"):
        make()


def joined(is_summed: bool) -> TaskOrder:
    """Up to where keys may come."""
    order = TaskOrder(order_of("bfv", True), terms=PairTerms(is_summed=is_summed))
    for sender, message_type, recorded in (
        (C, type(hello()), (0, 0)),
        (H, Manifest, ()),
        (C, ManifestAccepted, ()),
    ):
        order.step(sender, message_type, JOIN, recorded)
    return order


def test_keys_come_once_and_only_where_there_is_a_sum() -> None:
    with pytest.raises(MessageOutOfOrder, match="no sum of the projections was agreed on"):
        joined(False).step(C, SumKey, JOIN, ())
    with pytest.raises(MessageOutOfOrder, match="it answers SumKey"):
        joined(True).step(H, SumKeys, JOIN, ())
    order = joined(True)
    order.step(C, SumKey, JOIN, ())
    with pytest.raises(MessageOutOfOrder, match="it has come before"):
        order.step(C, SumKey, JOIN, ())
    order = joined(True)
    order.step(C, SumKey, JOIN, ())
    order.step(H, SumKeys, JOIN, ())
    order.step(C, Checkpoint, JOIN, ())
    with pytest.raises(MessageOutOfOrder, match="keys of the sum that was agreed on had not come"):
        joined(True).step(C, Checkpoint, JOIN, ())


# What is agreed on ------------------------------------------------------------------------------------------------


def test_a_sum_has_what_it_takes() -> None:
    assert MANIFEST.others_in_sum == 2
    for change, reason in (
        ({"projection_widths": (3, 3, 4)}, "one width"),
        ({"has_projection": False}, "one width"),
        ({"trainable": (True, True, False)}, "all bottom models are trained"),
        ({"host_feature_key": "sum"}, "a party is called 'sum'"),
    ):
        with pytest.raises(InvalidInput, match=reason):
            replace(MANIFEST, **change)
    with pytest.raises(InvalidInput, match="two collaborators or more"):
        summed("bank")


def test_a_frozen_bottom_model_is_no_summand() -> None:
    host = HostAgreement(plan("bank", is_summed=True), ["bank"])
    replay(host.hello_from("bank"), hello(is_feature_trainable=False))
    with pytest.raises(WrongSession, match="fusion: the bottom model of bank is frozen"):
        host.admit("bank")


def decided(is_summed: bool, least: int) -> Manifest:
    host = HostAgreement(plan("bank", "shop", is_summed=is_summed), ["bank", "shop"])
    for name in ("bank", "shop"):
        replay(host.hello_from(name), hello(name, least_others=least))
        host.admit(name)
    return host.decide([3, 3], OsRandomness())


def test_a_collaborator_may_ask_for_others_in_the_sum() -> None:
    assert decided(True, 1).others_in_sum == 1
    assert decided(False, 0).others_in_sum == 0
    with pytest.raises(WrongSession, match=r"fusion: bank .* at least 1 other, and the host asks for each by itself"):
        decided(False, 1)
    with pytest.raises(WrongSession, match=r"fusion: bank .* at least 2 others, and the host asks for a sum with 1"):
        decided(True, 2)
