"""Agreement: what is compared, bound and refused before any data moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.harness.pump import C, Conversation, H, Wire, complete, pinned, replay
from protocols.core.envelope import Phase
from protocols.core.errors import (
    CallOutOfOrder,
    InvalidInput,
    PeerViolation,
    RoleAlreadyUsed,
    VerificationFailed,
    WrongSession,
)
from protocols.core.randomness import OsRandomness, SeededRandomness
from protocols.task.agreement import CollaboratorAgreement, HostAgreement, HostPlan, check_hello, make_manifest
from protocols.task.manifest import NONCE_BYTES, PROTOCOL_VERSION, Hello, Manifest, ManifestAccepted
from protocols.task.manifest_checks import session_id
from protocols.task.resumption import POSITION_BYTES, TAG_BYTES, ResumePoint, TranscriptPosition

SEAM = TranscriptPosition(bytes(32), 3, bytes(32), 4, bytes(32)).encode()


def hello(key: str = "bank", **changes: Any) -> Hello:
    values: dict[str, Any] = {
        "protocol_version": PROTOCOL_VERSION,
        "task_id": "task1",
        "feature_key": key,
        "scheme": "plain",
        "is_feature_trainable": True,
        "is_reproducible": False,
        "nonce": SeededRandomness(len(key), key).bytes(NONCE_BYTES),
    }
    return Hello(**{**values, **changes})


def manifest(*hellos: Hello, widths: list[int] | None = None) -> Manifest:
    said = hellos or (hello(),)
    return make_manifest(said, plan(*(each.feature_key for each in said)), widths, OsRandomness())


def plan(*names: str, **changes: Any) -> HostPlan:
    values: dict[str, Any] = {
        "task_id": "task1",
        "feature_key": "host",
        "scheme": "plain",
        "scheme_parameters": "",
        "is_reproducible": False,
        "calculation_timeout": 300.0,
        "pinned": pinned({name: name for name in names}),
    }
    return HostPlan(**{**values, **changes})


def introduced(*names: str, **changes: Any) -> HostAgreement:
    """A host that has heard and admitted these collaborators."""
    host = HostAgreement(plan(*names, **changes), names)
    for name in names:
        replay(host.hello_from(name), hello(name))
        host.admit(name)
    return host


def test_all_sides_agree() -> None:
    names = ("bank", "shop")
    host = HostAgreement(plan(*names), names)
    wires = {name: Wire() for name in names}
    joining = {
        name: Conversation(wire.end(C), CollaboratorAgreement(hello(name), ("",), plan(*names).pinned, name).run())
        for name, wire in wires.items()
    }
    hearing = [Conversation(wire.end(H), host.hello_from(name)) for name, wire in wires.items()]
    assert [each.feature_key for each in complete([*hearing, *joining.values()], hearing)] == list(names)
    for name in names:
        host.admit(name)
    made = host.decide([3, 0], OsRandomness(), {"shop": SEAM})
    assert (made.feature_keys, made.projection_widths, made.seams) == (names, (3, 0), (b"", SEAM))
    concluding = [Conversation(wire.end(H), host.conclude(name)) for name, wire in wires.items()]
    assert complete([*joining.values(), *concluding]) == [made, made, None, None]


@pytest.mark.parametrize(
    ("changes", "hellos"),
    [
        ({}, {"bank": {"scheme": "bfv"}}),
        ({"is_resuming": True}, {"bank": {"is_resuming": True}, "shop": {}}),
        ({"task_id": "task2"}, {"bank": {}}),
    ],
)
def test_the_host_admits_nobody_who_runs_something_else(changes: Any, hellos: dict[str, Any]) -> None:
    host = HostAgreement(plan(*hellos, **changes), tuple(hellos))
    last = list(hellos)[-1]
    for name, fields in hellos.items():
        replay(host.hello_from(name), hello(name, **fields))
        if name != last:
            host.admit(name)
    with pytest.raises(WrongSession, match=last):
        host.admit(last)
    with pytest.raises(CallOutOfOrder, match="have been admitted"):
        host.decide(None, OsRandomness())


def test_the_host_goes_on_from_the_newest_checkpoint_of_all() -> None:
    old, new = (
        (b"o" * TAG_BYTES, ResumePoint(Phase.TRAIN, 1)),
        (b"n" * TAG_BYTES, ResumePoint(Phase.TRAIN, 2)),
    )
    host = HostAgreement(plan("bank", "shop", is_resuming=True, checkpoints=(new, old)), ("bank", "shop"))
    for name, tags in (("bank", (new[0], old[0])), ("shop", (old[0],))):
        replay(host.hello_from(name), hello(name, is_resuming=True, checkpoints=tags))
        host.admit(name)
    assert host.decide(None, OsRandomness()).resume_point == old[1]


def test_a_collaborator_may_not_have_the_hosts_key() -> None:
    host = HostAgreement(plan("bank"), ("bank",))
    replay(host.hello_from("bank"), hello("host"))
    host.admit("bank")
    with pytest.raises(PeerViolation, match="same feature_key"):
        host.decide(None, OsRandomness())


def test_the_host_refuses_the_acceptance_of_another_manifest() -> None:
    host = introduced("bank")
    made = host.decide(None, OsRandomness())
    with pytest.raises(VerificationFailed, match="another manifest"):
        replay(host.conclude("bank"), ManifestAccepted(replace(made, task_id="task2").digest()))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda host: replay(host.hello_from("stranger"), hello()), InvalidInput),
        (lambda host: host.admit("stranger"), InvalidInput),
        (lambda host: host.admit("shop"), CallOutOfOrder),
        (lambda host: replay(host.hello_from("bank"), hello()), RoleAlreadyUsed),
        (lambda host: host.decide(None, OsRandomness()), CallOutOfOrder),
        (lambda host: replay(host.conclude("bank")), CallOutOfOrder),
    ],
    ids=["hello-of-a-stranger", "admit-a-stranger", "admit-unheard", "hello-again", "decide-early", "conclude-early"],
)
def test_calls_that_the_host_may_not_make(call: Callable[[HostAgreement], Any], error: type[Exception]) -> None:
    host = HostAgreement(plan("bank", "shop"), ("bank", "shop"))
    replay(host.hello_from("bank"), hello())
    host.admit("bank")
    with pytest.raises(error):
        call(host)


def test_every_part_is_done_once() -> None:
    host = introduced("bank")
    made = host.decide(None, OsRandomness())
    with pytest.raises(RoleAlreadyUsed):
        host.decide(None, OsRandomness())
    replay(host.conclude("bank"), ManifestAccepted(made.digest()))
    with pytest.raises(RoleAlreadyUsed):
        replay(host.conclude("bank"), ManifestAccepted(made.digest()))
    collaborator = CollaboratorAgreement(hello(), ("",), plan("bank").pinned, "bank")
    assert replay(collaborator.run(), made) == made
    with pytest.raises(RoleAlreadyUsed):
        replay(collaborator.run(), made)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"protocol_version": 9}, "protocol version: the host speaks 3, bank speaks 9"),
        ({"task_id": "task2"}, "task: the host runs task1, bank runs task2"),
        ({"scheme": "bfv"}, "scheme: the host asks for 'plain', bank for 'bfv'; no data was sent"),
        ({"is_reproducible": True}, "seed: only bank runs with a seed"),
    ],
)
def test_host_refuses_another_plan(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(WrongSession, match=problem):
        check_hello(hello(**change), "task1", "plain", False)


def test_host_with_a_seed_refuses_one_without() -> None:
    with pytest.raises(WrongSession, match="seed: only the host"):
        check_hello(hello(), "task1", "plain", True)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"protocol_version": 9}, WrongSession),
        ({"task_id": "task2"}, WrongSession),
        ({"scheme": "masked"}, WrongSession),
        ({"is_reproducible": True}, WrongSession),
        ({"scheme_parameters": "weaker"}, WrongSession),
        ({"id_normalisation": "none"}, WrongSession),
        ({"feature_keys": ("shop",)}, WrongSession),
        ({"nonces": (bytes(32),)}, WrongSession),
        ({"trainable": (False,)}, WrongSession),
        ({"host_nonce": bytes(32)}, VerificationFailed),
        ({"session": bytes(32)}, VerificationFailed),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else value.__name__,
)
def test_collaborator_refuses_a_manifest_that_is_not_its_own(change: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        replay(CollaboratorAgreement(hello(), ("",), plan("bank").pinned, "bank").run(), replace(manifest(), **change))


def test_collaborator_accepts_each_of_its_parameters() -> None:
    for said in ("quick", "small"):
        agreement = CollaboratorAgreement(hello(), ("quick", "small"), plan("bank").pinned, "bank")
        shown = replace(manifest(), scheme_parameters=said)
        assert replay(agreement.run(), shown) is shown


def test_a_prediction_without_a_limit_for_each_collaborator_is_malformed() -> None:
    with pytest.raises(InvalidInput, match="one entry of such limits"):
        replace(manifest(), trained=bytes([1]) * 32, trainable=(False,))


def test_every_field_is_in_the_digest() -> None:
    base = manifest(hello(), hello("shop"), widths=[3, 4])
    place = {"resumed_phase": int(Phase.TRAIN), "resumed_round": 3, "resumed_batch": 5}
    resumed = replace(base, resumed_from=b"t" * TAG_BYTES, **place)
    predicting = replace(
        *(base,), trained=bytes(32), trainable=(False, False), prediction_limits=(0, 0), asked_limits=(0, 0)
    )
    changed = [
        replace(base, protocol_version=9),
        replace(base, task_id="other"),
        replace(base, session=bytes(32)),
        replace(base, scheme="bfv"),
        replace(base, scheme_parameters="n=1"),
        replace(base, id_normalisation="none"),
        replace(base, host_feature_key="chief"),
        replace(base, host_nonce=bytes(32)),
        replace(base, feature_keys=("bank", "shop2")),
        replace(base, nonces=(bytes(32), base.nonces[1])),
        replace(base, trainable=(True, False)),
        replace(base, projection_widths=(4, 3)),
        replace(base, has_projection=False),
        replace(base, is_reproducible=True),
        replace(base, calculation_timeout=299.0),
        replace(base, seams=(b"", bytes(POSITION_BYTES))),
        replace(base, max_rounds=5),
        replace(base, max_batches=5),
        replace(base, projection_lr=0.5),
        replace(base, label_epsilon=2.0),
        replace(base, trainable=(True, False), may_train=(True, False)),
        replace(base, host_fingerprint=bytes(32)),
        replace(base, fingerprints=(bytes(32), base.fingerprints[1])),
        replace(base, width_limits=(5, 0)),
        replace(base, round_limits=(5, 0)),
        replace(base, rate_limits=(5.0, 0.0)),
        replace(base, row_limits=(5, 0)),
        replace(base, id_limits=(5, 0)),
        replace(base, least_others=(5, 0)),
        replace(base, projection_widths=(3, 3), is_summed=True),
        resumed,
        replace(resumed, resumed_from=bytes(TAG_BYTES)),
        replace(resumed, resumed_phase=int(Phase.TEST), resumed_batch=0),
        replace(resumed, resumed_round=4),
        replace(resumed, resumed_batch=6),
        predicting,
        replace(predicting, trained=bytes([1]) + bytes(31)),
        replace(predicting, prediction_limits=(5, 0)),
        replace(predicting, asked_limits=(5, 0)),
        replace(predicting, is_online=True),
        replace(base, has_projection=False, trainable=(False, False), is_overlap=True),
    ]
    assert len({each.digest() for each in [base, *changed]}) == len(changed) + 1
    assert {name for each in changed for name, value in vars(each).items() if value != getattr(base, name)} == set(
        vars(base)
    ), "a new field needs a row above"
    assert replace(base).digest() == base.digest()


def test_the_digest_does_not_confuse_neighbouring_fields() -> None:
    base = manifest(hello(), hello("shop"))
    one = replace(base, task_id="ab", scheme="c")
    other = replace(base, task_id="a", scheme="bc")
    assert one.digest() != other.digest()
    assert session_id("ab", bytes(32), ["c"], [bytes(32)]) != session_id("a", bytes(32), ["bc"], [bytes(32)])


def test_each_party_changes_the_session() -> None:
    keys, nonces = ["a", "b"], [b"1" * 32, b"2" * 32]
    base = session_id("t", b"0" * 32, keys, nonces)
    assert base == session_id("t", b"0" * 32, keys, nonces)
    others = {
        session_id("u", b"0" * 32, keys, nonces),
        session_id("t", b"9" * 32, keys, nonces),
        session_id("t", b"0" * 32, keys, [b"9" * 32, nonces[1]]),
        session_id("t", b"0" * 32, keys, [nonces[0], b"9" * 32]),
        session_id("t", b"0" * 32, keys[::-1], nonces[::-1]),
    }
    assert base not in others
    assert len(others) == 5
    assert manifest().session != manifest().session, "the host's nonce is fresh"


@pytest.mark.parametrize("keys", [("bank", "bank"), ("host",)])
def test_feature_keys_differ(keys: tuple[str, ...]) -> None:
    with pytest.raises(PeerViolation, match="two parties use the same feature_key among: host, "):
        manifest(*(hello(key) for key in keys))


@pytest.mark.parametrize(
    "change",
    [
        {"protocol_version": 0},
        {"protocol_version": True},
        {"task_id": ""},
        {"task_id": "x" * 101},
        {"feature_key": "two\nlines"},
        {"feature_key": ""},
        {"scheme": "\x1b[31m"},
        {"nonce": bytes(31)},
        {"nonce": "text"},
    ],
)
def test_malformed_hello(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=f"Hello: {next(iter(change))}"):
        hello(**change)


@pytest.mark.parametrize(
    "change",
    [
        {"protocol_version": 0},
        {"task_id": ""},
        {"scheme": "a\nb"},
        {"scheme_parameters": "x" * 10_001},
        {"id_normalisation": ""},
        {"host_feature_key": "bank"},
        {"host_feature_key": ""},
        {"session": bytes(31)},
        {"host_nonce": b""},
        {"feature_keys": ()},
        {"feature_keys": ("bank", "shop")},
        {"feature_keys": ("",)},
        {"feature_keys": ("a\nb",)},
        {"feature_keys": tuple(map(str, range(257)))},
        {"nonces": ()},
        {"nonces": (bytes(31),)},
        {"trainable": (True, True)},
        {"projection_widths": (-1,)},
        {"projection_widths": (1 << 16,)},
        {"projection_widths": ()},
        {"calculation_timeout": 0.0},
        {"calculation_timeout": -1.0},
        {"calculation_timeout": float("nan")},
        {"calculation_timeout": float("inf")},
    ],
    ids=lambda change: str(change)[:60],
)
def test_malformed_manifest(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="Manifest"):
        replace(manifest(), **change)


@pytest.mark.parametrize("digest", [b"", bytes(31), bytes(33), "text", None])
def test_malformed_acceptance(digest: Any) -> None:
    with pytest.raises(InvalidInput, match="digest"):
        ManifestAccepted(digest)
