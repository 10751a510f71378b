"""What holds for a whole run is compared while the parties agree, and refused with both numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.harness.pump import pinned, replay
from protocols.core.errors import InvalidInput, VerificationFailed, WrongSession
from protocols.core.randomness import OsRandomness
from protocols.task.agreement import CollaboratorAgreement, HostAgreement, HostPlan, make_manifest
from protocols.task.manifest import NONCE_BYTES, PROTOCOL_VERSION, Hello, Manifest
from protocols.task.terms import Declared, Pinned, RunLimits

KNOWN = pinned({"bank": "bank"})
TWO = pinned({"bank": "bank", "shop": "shop"})


def hello(**changes: Any) -> Hello:
    said = Hello(PROTOCOL_VERSION, "task1", "bank", "plain", True, False, bytes(NONCE_BYTES))
    return replace(said, **changes)


def plan(**changes: Any) -> HostPlan:
    return replace(HostPlan("task1", "host", "plain", "", False, 30.0, KNOWN), **changes)


def heard(said: Hello, asked: HostPlan) -> HostAgreement:
    host = HostAgreement(asked, ["bank"])
    replay(host.hello_from("bank"), said)
    return host


def manifest(said: Hello, asked: HostPlan, width: int = 0) -> Manifest:
    return make_manifest([said], asked, [width], OsRandomness())


def accepts(said: Hello, shown: Manifest, known: Pinned = KNOWN) -> Manifest:
    result: Manifest = replay(CollaboratorAgreement(said, ("",), known, "bank").run(), shown)
    return result


DECLARED = Declared(max_rounds=5, projection_lr=0.1)
BEYOND = {
    "width": (
        {"width_limit": 19},
        DECLARED,
        "projection width: WHO allows at most 19, the host asks for 20; no data was sent",
    ),
    "rounds": (
        {"round_limit": 4},
        DECLARED,
        "rounds: WHO allows at most 4, the host asks for 5; no data was sent. The host sets max_rounds to that or less",
    ),
    "rounds that the host does not say": (
        {"round_limit": 4},
        Declared(projection_lr=0.1),
        "rounds: WHO allows at most 4, the host does not say how much",
    ),
    "projection_lr that the host does not say": (
        {"rate_limit": 0.09},
        Declared(max_rounds=5),
        "projection_lr: WHO allows at most 0.09, the host does not say how much",
    ),
    "projection_lr": (
        {"rate_limit": 0.09},
        DECLARED,
        "projection_lr: WHO allows at most 0.09, the host asks for 0.1",
    ),
}


TO_THE_HOST = {name: case for name, case in BEYOND.items() if name != "rounds that the host does not say"}
"""A host that does not say rounds takes what all allow."""


@pytest.mark.parametrize(("said", "declared", "problem"), TO_THE_HOST.values(), ids=TO_THE_HOST)
def test_the_host_asks_nobody_for_more_than_it_allows(said: dict[str, Any], declared: Declared, problem: str) -> None:
    host = heard(hello(**said), plan(declared=declared))
    host.admit("bank")
    with pytest.raises(WrongSession, match=problem.replace("WHO", "bank")):
        host.decide([20], OsRandomness())


@pytest.mark.parametrize(("said", "declared", "problem"), BEYOND.values(), ids=BEYOND)
def test_a_collaborator_refuses_more_than_it_allows(said: dict[str, Any], declared: Declared, problem: str) -> None:
    shown = manifest(hello(**said), plan(declared=declared), 20)
    with pytest.raises(WrongSession, match=problem.replace("WHO", "this side") + r".*allows more: RunLimits\(.*"):
        accepts(hello(**said), shown)


def test_a_host_that_decides_as_it_goes_keeps_within_what_all_allow() -> None:
    host = HostAgreement(plan(pinned=TWO), ["bank", "shop"])
    for name, most in (("bank", 7), ("shop", 4)):
        replay(host.hello_from(name), hello(feature_key=name, nonce=name.encode() * 8, round_limit=most))
        host.admit(name)
    assert host.decide(None, OsRandomness()).max_rounds == 4


@pytest.mark.parametrize(
    "said",
    [{}, {"width_limit": 20, "round_limit": 5, "rate_limit": 0.1, "row_limit": 1, "id_limit": 1}],
    ids=["no limits", "just enough"],
)
def test_both_agree_within_the_limits(said: dict[str, Any]) -> None:
    host = heard(hello(**said), plan(declared=DECLARED))
    host.admit("bank")
    shown = host.decide([20], OsRandomness())
    assert accepts(hello(**said), shown) == shown
    assert (shown.declared, shown.limits("bank")) == (DECLARED, hello(**said).limits)


@pytest.mark.parametrize("said", [{"width_limit": 20}, {"id_limit": 7}], ids=lambda said: next(iter(said)))
def test_a_collaborator_is_not_misquoted(said: dict[str, Any]) -> None:
    with pytest.raises(WrongSession, match="misquotes the hello of bank"):
        accepts(hello(**said), manifest(hello(), plan()))


def test_gradients_go_to_those_whom_the_host_lets() -> None:
    for may_train in (None, frozenset({"bank"})):
        heard(hello(), plan(may_train=may_train)).admit("bank")
    frozen = hello(is_feature_trainable=False)
    heard(frozen, plan(may_train=frozenset())).admit("bank")
    assert manifest(frozen, plan(may_train=frozenset())).may_train == (False,)
    for others in (frozenset[str](), frozenset({"shop"})):
        with pytest.raises(
            WrongSession, match=r"may_train: bank .*bank sets is_feature_trainable=False, or the host adds"
        ):
            heard(hello(), plan(may_train=others)).admit("bank")
    with pytest.raises(InvalidInput, match="may_train"):
        manifest(hello(), plan(may_train=frozenset()))


def test_nobody_trains_under_a_feature_key_that_it_chose_itself() -> None:
    """A name belongs to a certificate; a feature key that is not one is free where there is one collaborator."""
    with pytest.raises(WrongSession, match=r"may_train: lab wants to train .*adds bank to may_train"):
        heard(hello(feature_key="lab"), plan(may_train=frozenset({"lab"}))).admit("bank")
    heard(hello(feature_key="lab"), plan(may_train=frozenset({"bank"}))).admit("bank")


def test_the_certificates_are_those_of_the_invite() -> None:
    shown = manifest(hello(), plan())
    assert (shown.host_fingerprint, shown.fingerprints) == (KNOWN.host, (KNOWN.collaborators["bank"],))
    another = bytes(32)
    for changed in ({"host_fingerprint": another}, {"fingerprints": (another,)}):
        with pytest.raises(VerificationFailed, match=r"other certificates of (the host|bank)"):
            accepts(hello(), replace(shown, **changed))
    with pytest.raises(VerificationFailed, match=r"has the collaborators bank, and the invite .* has bank, shop;"):
        accepts(hello(), shown, Pinned(KNOWN.host, {**KNOWN.collaborators, "shop": another}))
    with pytest.raises(InvalidInput, match="two parties have one certificate"):
        replace(shown, fingerprints=(KNOWN.host,))
    with pytest.raises(InvalidInput, match="own certificate"):
        CollaboratorAgreement(hello(), ("",), Pinned(KNOWN.host, {}), "bank")
    with pytest.raises(InvalidInput, match="certificates of all"):
        HostAgreement(plan(), ["shop"])


def test_a_name_of_the_invite_belongs_to_its_certificate() -> None:
    """Before, whoever had any certificate of the task could call itself what it liked, if it came first."""
    host = HostAgreement(plan(pinned=TWO), ["bank", "shop"])
    replay(host.hello_from("bank"), hello(feature_key="shop"))
    with pytest.raises(WrongSession, match=r"bank calls itself shop, .*no data was sent. bank sets feature_key='bank'"):
        host.admit("bank")


def test_of_several_collaborators_each_has_its_name_for_its_key() -> None:
    """Before, a key that was nobody's name went to whoever took it first: the host's code cannot tell."""
    host = HostAgreement(plan(pinned=TWO), ["bank", "shop"])
    replay(host.hello_from("shop"), hello(feature_key="income"))
    problem = (
        "feature_key: shop calls itself income, which in this task is the name of nobody's certificate, .*"
        "shop sets feature_key='shop', or the host creates a task with --collaborator income=CERT.pem"
    )
    with pytest.raises(WrongSession, match=problem):
        host.admit("shop")


def test_a_manifest_with_a_key_that_is_nobodys_name_is_refused() -> None:
    said = hello(), hello(feature_key="income", nonce=b"s" * NONCE_BYTES)
    shown = make_manifest(said, plan(pinned=TWO), None, OsRandomness())
    with pytest.raises(VerificationFailed, match=r"has the collaborators bank, income, and the invite .* bank, shop"):
        accepts(said[0], shown, TWO)


def test_a_single_collaborator_may_have_any_key_but_the_host_not_its_name() -> None:
    said = hello(feature_key="demo_collaborator")
    shown = manifest(said, plan())
    assert accepts(said, shown) == shown
    with pytest.raises(WrongSession, match="the host calls itself bank, which in this task is a collaborator's name"):
        HostAgreement(plan(feature_key="bank"), ["bank"])
    with pytest.raises(WrongSession, match="the host calls itself bank, which in this task is a collaborator's name"):
        accepts(said, manifest(said, plan(feature_key="bank")))


def test_a_collaborator_finds_its_peers_names_at_their_certificates() -> None:
    said = hello(), hello(feature_key="shop", nonce=b"s" * NONCE_BYTES)
    shown = make_manifest(said, plan(pinned=TWO), None, OsRandomness())
    assert accepts(said[0], shown, TWO) == shown
    swapped = replace(shown, fingerprints=shown.fingerprints[::-1])
    with pytest.raises(VerificationFailed, match="other certificates of bank, shop"):
        accepts(said[0], swapped, TWO)


@pytest.mark.parametrize(
    "change",
    [
        {"max_rounds": -1},
        {"max_batches": -1},
        {"projection_lr": float("nan")},
        {"projection_lr": -0.1},
        {"label_epsilon": float("inf")},
        {"may_train": ()},
        {"host_fingerprint": bytes(31)},
        {"fingerprints": (b"",)},
        {"width_limits": (1 << 16,)},
        {"round_limits": (1 << 31,)},
        {"rate_limits": (float("nan"),)},
        {"row_limits": (-1,)},
        {"id_limits": ()},
        {"least_others": (256,)},
        {"is_summed": 1},
    ],
    ids=str,
)
def test_malformed_terms_of_a_manifest(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="Manifest: "):
        replace(manifest(hello(), plan()), **change)


@pytest.mark.parametrize(
    "change",
    [
        {"width_limit": 1 << 16},
        {"round_limit": -1},
        {"rate_limit": float("nan")},
        {"row_limit": True},
        {"id_limit": -1},
        {"least_others": 256},
    ],
    ids=str,
)
def test_malformed_limits_of_a_hello(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="Hello: "):
        hello(**change)


def test_limits_of_another_type_are_refused() -> None:
    with pytest.raises(InvalidInput, match="width must be an integer"):
        RunLimits(width=1.5)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="a fingerprint has 32 bytes"):
        Pinned(b"", {})
