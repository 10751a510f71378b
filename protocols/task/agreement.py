"""Agreement: all parties say what they are about to run before any data moves.

    collaborator k                                 host
    Hello(k, scheme, trainable, nonce)  ------->   waits for every collaborator
                                        <-------   Manifest(everyone, scheme, parameters, session)
    ManifestAccepted(digest)            ------->   goes on when all have accepted

The session id hashes the task id and one fresh nonce of every party, so no party alone can repeat a session, and
every later protocol (PSI tags, digests, pseudo-random functions) is bound to it. After an interruption the parties
agree anew, and on the checkpoint to go on from: protocols/task/resumption.py.

**Leaks** feature keys, scheme, and timeouts to every party of the task; nothing about data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from protocols.core.errors import (
    CallOutOfOrder,
    InvalidInput,
    PeerViolation,
    RoleAlreadyUsed,
    VerificationFailed,
    WrongSession,
)
from protocols.core.randomness import Randomness
from protocols.core.steps import Receive, Send, Steps, received
from protocols.task.feature_keys import check_certificates, check_host_key, check_key
from protocols.task.hello_check import check_hello
from protocols.task.manifest import NONCE_BYTES, PROTOCOL_VERSION, Hello, Manifest, ManifestAccepted
from protocols.task.manifest_checks import session_id
from protocols.task.resumption import ResumePoint, newest_common
from protocols.task.terms import Declared, Pinned, check_may_train, check_summand

ID_NORMALISATION = "UTF-8 of NFC"


@dataclass(frozen=True)
class HostPlan:
    """What the host is about to run.

    Attributes:
        pinned: the certificates of this host and of the collaborators, by what `HostAgreement` calls them.
        checkpoints: those that it has, the newest first; of a task that is not resumed, none.
        declared: what it says of the whole run.
        may_train: names of those who may be shown gradients; None: all. Not feature keys: a party chooses its own.
        is_summed: it gets the sum of all collaborators' projections, and none by itself.
        trained: of a prediction, which training's result it uses (`Hello.trained`); empty: it trains.
        is_online: of a prediction: the session stays open.
        is_overlap: it trains and predicts nothing: how many ids both have is counted.
    """

    task_id: str
    feature_key: str
    scheme: str
    scheme_parameters: str
    is_reproducible: bool
    calculation_timeout: float
    pinned: Pinned
    is_resuming: bool = False
    checkpoints: tuple[tuple[bytes, ResumePoint], ...] = ()
    declared: Declared = field(default_factory=Declared)
    may_train: frozenset[str] | None = None
    is_summed: bool = False
    trained: bytes = field(default=b"", repr=False)
    is_online: bool = False
    is_overlap: bool = False

    def lets_train(self, name: str) -> bool:
        """Whether this collaborator may be shown gradients."""
        return self.may_train is None or name in self.may_train


class HostAgreement:
    """The host's half, with all collaborators: `hello_from` and `admit` each, `decide`, `conclude` with each. One-shot.

    Args:
        plan: what we are about to run.
        names: what the collaborators are called until they have said their feature keys; their order is the manifest's.

    Raises:
        InvalidInput: the plan has not the certificates of just these.
        WrongSession: the host's feature key is a collaborator's name.
    """

    def __init__(self, plan: HostPlan, names: Sequence[str]) -> None:
        if list(plan.pinned.collaborators) != list(names):
            raise InvalidInput("the certificates of all collaborators must be known, in the manifest's order")
        check_host_key(plan.pinned, plan.feature_key)
        self._plan = plan
        self._hellos: dict[str, Hello | None] = dict.fromkeys(names)
        self._admitted: set[str] = set()
        self._concluding: set[str] = set()
        self._manifest: Manifest | None = None

    def hello_from(self, name: str) -> Steps[Hello]:
        """Hear a collaborator's introduction. Raises `RoleAlreadyUsed` the second time."""
        self._check_name(name)
        if self._hellos[name] is not None:
            raise RoleAlreadyUsed(f"{name} has introduced itself before")
        hello = received((yield Receive(Hello)), Hello)
        self._hellos[name] = hello
        return hello

    def admit(self, name: str) -> None:
        """Go on only with a collaborator that is about to run the same. Raises `WrongSession`.

        Not a step of `hello_from`, because neither side has broken the protocol: two users have chosen differently.
        """
        self._check_name(name)
        hello, plan = self._hellos[name], self._plan
        if hello is None:
            raise CallOutOfOrder(f"{name} has not introduced itself")
        said = plan.task_id, plan.scheme, plan.is_reproducible, plan.is_resuming, plan.trained, plan.is_overlap
        check_hello(hello, *said)
        check_key(plan.pinned, name, hello.feature_key)
        if hello.is_feature_trainable:
            check_may_train(hello.feature_key, name, plan.may_train)
        if plan.is_summed and not plan.trained:
            check_summand(hello.feature_key, hello.is_feature_trainable)
        self._admitted.add(name)

    def decide(
        self,
        projection_widths: Sequence[int] | None,
        randomness: Randomness,
        seams: Mapping[str, bytes] | None = None,
    ) -> Manifest:
        """What all are going to run. Once, when all have been admitted.

        Args:
            projection_widths: in the order of the names; 0 is "as wide as the features"; None: no layer.
            seams: by name, how far our last conversation with each went, if there was one.

        Raises:
            WrongSession: we have been set up, but have no checkpoint that all have; or a collaborator allows less than
                the plan asks for.
            PeerViolation: two parties use the same feature key.
            CallOutOfOrder: some have not been admitted.
        """
        if self._manifest is not None:
            raise RoleAlreadyUsed("the manifest has been made before")
        hellos = [hello for name, hello in self._hellos.items() if hello is not None and name in self._admitted]
        if len(hellos) < len(self._hellos):
            raise CallOutOfOrder(f"{len(hellos)} of {len(self._hellos)} collaborators have been admitted")
        plan = self._plan
        if not (
            plan.declared.max_rounds or plan.trained or plan.is_overlap
        ):  # the user decides as they go, within what all allow
            rounds = min((hello.round_limit for hello in hellos if hello.round_limit), default=0)
            plan = replace(plan, declared=replace(plan.declared, max_rounds=rounds))
        for at, hello in enumerate(hellos):
            hello.limits.check(hello.feature_key, plan.declared, projection_widths[at] if projection_widths else 0)
            hello.limits.check_others(hello.feature_key, len(hellos) - 1 if plan.is_summed else 0)
        self._manifest = make_manifest(
            hellos,
            plan,
            projection_widths,
            randomness,
            newest_common(plan.checkpoints, {hello.feature_key: hello.checkpoints for hello in hellos}),
            [(seams or {}).get(name, b"") for name in self._hellos],
        )
        return self._manifest

    def conclude(self, name: str) -> Steps[None]:
        """Show a collaborator the manifest, and hear that it runs just that.

        Raises:
            VerificationFailed: it has accepted another one.
        """
        self._check_name(name)
        if self._manifest is None:
            raise CallOutOfOrder("there is no manifest yet")
        if name in self._concluding:
            raise RoleAlreadyUsed(f"{name} has been shown the manifest before")
        self._concluding.add(name)
        yield Send(self._manifest)
        accepted = received((yield Receive(ManifestAccepted)), ManifestAccepted)
        if accepted.digest != self._manifest.digest():
            raise VerificationFailed("accepted another manifest than ours")

    def _check_name(self, name: str) -> None:
        if name not in self._hellos:
            raise InvalidInput(f"{name} is not a collaborator of this task")


class CollaboratorAgreement:
    """The collaborator's half. One-shot.

    Args:
        hello: what we say of ourselves.
        accepted: what we run the scheme with, as the host may say it: `Scheme.accepted_parameters`.
        pinned: the certificates of all parties, as the invite has them.
        name: what the invite calls this party.
        points: where the checkpoints that we offer were made, by tag.
        has_shown: features of our frozen bottom model have been shown by weights that must stay: we go on from behind
            their set-up, or not at all.
    """

    def __init__(
        self,
        hello: Hello,
        accepted: tuple[str, ...],
        pinned: Pinned,
        name: str,
        points: Mapping[bytes, ResumePoint] | None = None,
        has_shown: bool = False,
    ) -> None:
        if name not in pinned.collaborators:
            raise InvalidInput("a party's own certificate must be known")
        self._hello = hello
        self._accepted = accepted
        self._pinned, self._name = pinned, name
        self._points, self._has_shown = dict(points or {}), has_shown
        self._has_run = False

    def run(self) -> Steps[Manifest]:
        """Introduce ourselves, check the manifest, accept it.

        Raises:
            WrongSession: the manifest is for another task, scheme or session than ours, or for more than we allow.
            VerificationFailed: it names other certificates than those that are pinned, or ties other keys to them.
            RoleAlreadyUsed: a hello's nonce is good for one session.
        """
        if self._has_run:
            raise RoleAlreadyUsed("this agreement has been run before; make a new one, with a fresh nonce")
        self._has_run = True
        hello = self._hello
        yield Send(hello)
        manifest = received((yield Receive(Manifest)), Manifest)
        self._check(manifest)
        yield Send(ManifestAccepted(manifest.digest()))
        return manifest

    def _check(self, manifest: Manifest) -> None:
        hello = self._hello
        self._check_kind(manifest)
        self._check_quotation(manifest)
        expected = session_id(manifest.task_id, manifest.host_nonce, manifest.feature_keys, manifest.nonces)
        if manifest.session != expected:
            raise VerificationFailed("the host's manifest has a session id that its own nonces do not give")
        others = dict(zip(manifest.feature_keys, manifest.fingerprints))
        check_certificates(self._pinned, self._name, hello.feature_key, manifest.host_fingerprint, others)
        check_host_key(self._pinned, manifest.host_feature_key)
        width = manifest.pair_terms(hello.feature_key).width
        hello.limits.check("this side", manifest.declared, width)
        hello.limits.check_others("this side", manifest.others_in_sum)
        self._check_resumption(manifest)

    def _check_kind(self, manifest: Manifest) -> None:
        """What all parties must run alike."""
        hello, said = self._hello, manifest.scheme_parameters
        alike = (
            ("protocol version", hello.protocol_version, manifest.protocol_version),
            ("task", hello.task_id, manifest.task_id),
            ("scheme", hello.scheme, manifest.scheme),
            ("scheme parameters", said if said in self._accepted else self._accepted[0], said),
            ("seed", hello.is_reproducible, manifest.is_reproducible),
            ("id normalisation", ID_NORMALISATION, manifest.id_normalisation),
            ("trained result", hello.trained.hex(), manifest.trained.hex()),
            ("kind (is_overlap)", hello.is_overlap, manifest.is_overlap),
        )
        for name, ours, theirs in alike:
            if ours != theirs:
                raise WrongSession(f"{name}: the host's manifest says {theirs!r}, {hello.feature_key} runs {ours!r}")

    def _check_quotation(self, manifest: Manifest) -> None:
        """What the manifest says that we said."""
        hello = self._hello
        if hello.feature_key not in manifest.feature_keys:
            raise WrongSession(f"the host's manifest does not list {hello.feature_key}")
        at = manifest.feature_keys.index(hello.feature_key)
        ours = hello.nonce, hello.is_feature_trainable, hello.limits
        if ours != (manifest.nonces[at], manifest.trainable[at], manifest.limits(hello.feature_key)):
            raise WrongSession(f"the host's manifest misquotes the hello of {hello.feature_key}")

    def _check_resumption(self, manifest: Manifest) -> None:
        point = manifest.resume_point
        if self._has_shown and (point is None or not point.is_set_up):
            raise WrongSession(
                "the host goes back to before the set-up: other weights would show the frozen features once more. Go "
                "on from a checkpoint behind it, or start all parties without --resume, which is another look at them"
            )
        if point is None:
            if any(each.is_set_up for each in self._points.values()):
                raise WrongSession("the host begins anew, but we have checkpoints of its training to go on from")
        elif self._points.get(manifest.resumed_from) != point:
            raise WrongSession(f"the host goes on from {point}, which is not a checkpoint that we offered")


def make_manifest(
    hellos: Sequence[Hello],
    plan: HostPlan,
    projection_widths: Sequence[int] | None,
    randomness: Randomness,
    resumed: tuple[bytes, ResumePoint] | None = None,
    seams: Sequence[bytes] = (),
) -> Manifest:
    """The host's manifest over checked hellos.

    Args:
        hellos: in the order that all per-collaborator fields have, which is that of the plan's certificates.
        projection_widths: 0 is "as wide as the features"; None: no layer.
        resumed: the checkpoint to go on from; None: from the beginning.
        seams: the host's, if there was a conversation before.
    """
    keys, nonces = _distinct_keys(hellos, plan), tuple(hello.nonce for hello in hellos)
    nonce = randomness.bytes(NONCE_BYTES)
    task_id, declared = hellos[0].task_id, plan.declared
    return Manifest(
        protocol_version=PROTOCOL_VERSION,
        task_id=task_id,
        session=session_id(task_id, nonce, keys, nonces),
        scheme=hellos[0].scheme,
        scheme_parameters=plan.scheme_parameters,
        id_normalisation=ID_NORMALISATION,
        host_feature_key=plan.feature_key,
        host_nonce=nonce,
        feature_keys=keys,
        nonces=nonces,
        trainable=tuple(hello.is_feature_trainable for hello in hellos),
        projection_widths=tuple(projection_widths or (0,) * len(keys)),
        has_projection=projection_widths is not None,
        is_reproducible=hellos[0].is_reproducible,
        calculation_timeout=plan.calculation_timeout,
        seams=tuple(seams) or (b"",) * len(keys),
        max_rounds=declared.max_rounds,
        max_batches=declared.max_batches,
        projection_lr=declared.projection_lr,
        label_epsilon=declared.label_epsilon,
        may_train=tuple(map(plan.lets_train, plan.pinned.collaborators)),
        host_fingerprint=plan.pinned.host,
        fingerprints=tuple(plan.pinned.collaborators.values()),
        is_summed=plan.is_summed,
        trained=plan.trained,
        is_online=plan.is_online,
        is_overlap=plan.is_overlap,
        **_resumed_at(resumed),
        **_limits_of(hellos, is_prediction=bool(plan.trained)),
    )


def _distinct_keys(hellos: Sequence[Hello], plan: HostPlan) -> tuple[str, ...]:
    keys = tuple(hello.feature_key for hello in hellos)
    if len(set(keys)) != len(keys) or plan.feature_key in keys:
        raise PeerViolation(f"two parties use the same feature_key among: {plan.feature_key}, {', '.join(keys)}")
    return keys


def _resumed_at(resumed: tuple[bytes, ResumePoint] | None) -> dict[str, Any]:
    """Where a task goes on, by the manifest's fields."""
    if resumed is None:
        return {"resumed_from": b"", "resumed_phase": 0, "resumed_round": 0, "resumed_batch": 0}
    tag, point = resumed
    return {
        "resumed_from": tag,
        "resumed_phase": int(point.phase),
        "resumed_round": point.round,
        "resumed_batch": point.batch,
    }


def _limits_of(hellos: Sequence[Hello], is_prediction: bool) -> dict[str, Any]:
    """What each collaborator allows at most, by the manifest's fields."""
    return {
        "width_limits": tuple(hello.width_limit for hello in hellos),
        "round_limits": tuple(hello.round_limit for hello in hellos),
        "rate_limits": tuple(hello.rate_limit for hello in hellos),
        "row_limits": tuple(hello.row_limit for hello in hellos),
        "id_limits": tuple(hello.id_limit for hello in hellos),
        "least_others": tuple(hello.least_others for hello in hellos),
        "prediction_limits": tuple(hello.prediction_limit for hello in hellos if is_prediction),
        "asked_limits": tuple(hello.asked_limit for hello in hellos if is_prediction),
    }
