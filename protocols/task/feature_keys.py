"""Whose features a feature key names: the rule that ties it to a certificate, as both sides check it.

The Host's code finds features by key, and the task's invite pins a certificate to every name. So a key is a name:

* of several Collaborators each has its own name in the task for its key;
* a single one may have any other key, because nobody else can be meant by it. The Host's key is no Collaborator's name.

The Host checks this for every `Hello`, and a Collaborator for all keys of the manifest, before any id moves. Names are
chosen by the Host when it creates the task.
"""

from __future__ import annotations

from collections.abc import Mapping

from protocols.core.errors import VerificationFailed, WrongSession
from protocols.task.terms import Pinned


def check_key(pinned: Pinned, name: str, feature_key: str) -> None:
    """Raise `WrongSession` unless this is a feature key that the owner of this certificate may use.

    Args:
        pinned: the certificates by name.
        name: whose certificate it came with.
        feature_key: what it calls its features.
    """
    names = pinned.collaborators
    if feature_key == name or len(names) == 1:
        return
    if feature_key in names:
        owner, way = "the name of another certificate's owner", ""
    else:
        owner = "the name of nobody's certificate, and with several collaborators a feature_key must be one"
        way = f", or the host creates a task with --collaborator {feature_key}=CERT.pem"
    raise WrongSession(
        f"feature_key: {name} calls itself {feature_key}, which in this task is {owner}; no data was sent. {name} sets "
        f"feature_key={name!r}{way}"
    )


def check_host_key(pinned: Pinned, feature_key: str) -> None:
    """Raise `WrongSession` if the Host's feature key is a Collaborator's name."""
    if feature_key in pinned.collaborators:
        raise WrongSession(
            f"feature_key: the host calls itself {feature_key}, which in this task is a collaborator's name; no data "
            "was sent. The host sets another feature_key"
        )


def check_certificates(pinned: Pinned, name: str, feature_key: str, host: bytes, others: Mapping[str, bytes]) -> None:
    """Compare what a manifest says of all parties with what a Collaborator knows.

    Args:
        pinned: what it knows.
        name: its own.
        feature_key: what it calls its features.
        host: the Host's certificate, as the manifest says: SHA-256.
        others: likewise, by feature key.

    Raises:
        VerificationFailed: another certificate, or a feature key that is nobody's. Says which.
    """
    known = pinned.collaborators
    wanted = {feature_key: known[name]} if len(known) == 1 else known
    wrong = ["the host"] if host != pinned.host else []
    wrong += [key for key in others if key in wanted and others[key] != wanted[key]]
    if wrong:
        raise VerificationFailed(
            f"the host's manifest has other certificates of {', '.join(wrong)} than the invite that this party joined "
            "with"
        )
    strangers, missing = [key for key in others if key not in wanted], [key for key in wanted if key not in others]
    if strangers or missing:
        raise VerificationFailed(
            f"the host's manifest has the collaborators {', '.join(others)}, and the invite that this party joined "
            f"with has {', '.join(wanted)}; with several collaborators each one's feature_key is its name in the task"
        )
