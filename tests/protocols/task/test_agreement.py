"""Agreement: what is compared, bound and refused before any data moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from protocols.core.envelope import Phase
from protocols.core.errors import InvalidInput, PeerViolation, VerificationFailed, WrongSession
from protocols.core.randomness import OsRandomness, SeededRandomness
from protocols.core.steps import Receive, Send, Steps
from protocols.task.agreement import CollaboratorAgreement, check_hello, make_manifest
from protocols.task.manifest import NONCE_BYTES, PROTOCOL_VERSION, Hello, Manifest, ManifestAccepted, session_id
from protocols.task.resumption import SEAM_BYTES, TAG_BYTES
from tests.helpers import pump, replay


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
    return make_manifest(hellos or (hello(),), "host", "", widths, 300.0, OsRandomness())


def host(got: list[ManifestAccepted], made: list[Manifest]) -> Steps[None]:
    first = yield Receive(Hello)
    assert isinstance(first, Hello)
    check_hello(first, "task1", "plain", False)
    made.append(manifest(first))
    yield Send(made[0])
    accepted = yield Receive(ManifestAccepted)
    assert isinstance(accepted, ManifestAccepted)
    got.append(accepted)


def test_both_sides_agree() -> None:
    got: list[ManifestAccepted] = []
    made: list[Manifest] = []
    talk = pump(CollaboratorAgreement(hello(), "").run(), host(got, made))
    assert talk.left == made[0]
    assert got[0].digest == made[0].digest()
    assert [type(message).__name__ for message in talk.from_left] == ["Hello", "ManifestAccepted"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"protocol_version": 9}, "protocol version: the host speaks 2, bank speaks 9"),
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
        replay(CollaboratorAgreement(hello(), "").run(), replace(manifest(), **change))


def test_every_field_is_in_the_digest() -> None:
    base = manifest(hello(), hello("shop"), widths=[3, 4])
    place = {"resumed_phase": int(Phase.TRAIN), "resumed_round": 3, "resumed_batch": 5}
    resumed = replace(base, resumed_from=b"t" * TAG_BYTES, **place)
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
        replace(base, seams=(b"", bytes(SEAM_BYTES))),
        resumed,
        replace(resumed, resumed_from=bytes(TAG_BYTES)),
        replace(resumed, resumed_phase=int(Phase.TEST), resumed_batch=0),
        replace(resumed, resumed_round=4),
        replace(resumed, resumed_batch=6),
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
