"""Is this the invite that the host wrote? A file proves nothing; what a person was told over another channel does.

    host: secure-hfl identity    --- its fingerprint, read out --->    task join INVITE --host-fingerprint ...
    host: secure-hfl task create --- the pairing code, read out -->    task join INVITE --pairing-code ...

The fingerprint (256 bits) stands for the host's certificate. Task, scheme and all certificates are compared with
the host's manifest, over a connection that only the owner of that certificate can open. The pairing code (80 bits)
stands for the whole invite: another file with the same code would have to be found among 2^80.
"""

from __future__ import annotations

import base64
from hashlib import sha256
from hmac import compare_digest

from protocols.core.sentence import say
from secure_hfl.errors import InvalidInvite
from secure_hfl.tasks.invite import Invite

CODE_BYTES = 10
_GROUP = 4
_HEX = frozenset("0123456789abcdef")


def pairing_code(invite: Invite) -> str:
    """80 bits of SHA-256 over the invite, in four groups of four letters and digits to read out."""
    digest = sha256(b"secure-hfl invite v1\n" + invite.model_dump_json().encode()).digest()
    text = base64.b32encode(digest[:CODE_BYTES]).decode().lower()
    return "-".join(text[at : at + _GROUP] for at in range(0, len(text), _GROUP))


def check_fingerprint(invite: Invite, told: str) -> None:
    """Compare the host's certificate with what the host has told.

    Args:
        told: the fingerprint, as `secure-hfl identity` prints it; colons, spaces and case do not matter.

    Raises:
        InvalidInvite: it is no fingerprint, or another one. Says what to compare with whom.
    """
    ours, theirs = _plain(invite.host.fingerprint), _plain(told)
    if len(theirs) != len(ours) or not set(theirs) <= _HEX:
        raise InvalidInvite(
            say(
                "--host-fingerprint: a fingerprint has {digits} hexadecimal digits; ask {name} for all of what "
                "`secure-hfl identity` prints there",
                digits=len(ours),
                name=invite.host.name,
            )
        )
    if not compare_digest(ours, theirs):
        raise InvalidInvite(
            say(
                "the invite to {name!r} has another certificate of the host {host!r} than you were told: "
                "{fingerprint}, not {told}. Somebody may have swapped the file: do not join. Ask {host}, by "
                "telephone, what `secure-hfl identity` prints there, and for the invite once more",
                name=invite.name,
                host=invite.host.name,
                fingerprint=invite.host.fingerprint,
                told=told,
            )
        )


def check_pairing_code(invite: Invite, told: str) -> None:
    """Compare the whole invite with what the host has told.

    Args:
        told: the code that `secure-hfl task create` printed there; hyphens, spaces and case do not matter.

    Raises:
        InvalidInvite: it is another one. Says what to compare with whom.
    """
    if not compare_digest(_plain(pairing_code(invite)).encode(), _plain(told).encode("utf-8", "replace")):
        raise InvalidInvite(
            say(
                "the invite to {name!r} does not have the pairing code {told}. Somebody may have changed the "
                "file, or it is of another task: do not join. Ask {host}, by telephone, for the pairing code "
                "that `secure-hfl task create` or `task invite` prints there, and the console's page Invite shows",
                name=invite.name,
                told=told,
                host=invite.host.name,
            )
        )


def _plain(text: str) -> str:
    return "".join(text.split()).replace(":", "").replace("-", "").lower()
