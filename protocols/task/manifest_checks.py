"""What a hello and a manifest are checked for beyond their own fields' ranges; and the name of a session."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from protocols.core.errors import InvalidInput
from protocols.core.message import Message
from protocols.task.resumption import TranscriptPosition


def check_positions(message: Message, seams: Sequence[bytes]) -> None:
    """Raise unless each is empty or one that a transcript can hold."""
    for seam in seams:
        try:
            if seam:
                TranscriptPosition.decode(seam)
        except InvalidInput as error:
            raise message.fail(str(error)) from error


def check_terms(message: Message, read: Callable[[], object]) -> None:
    """Raise unless a message's terms, as `read` makes them, are in their ranges."""
    try:
        read()
    except InvalidInput as error:
        raise message.fail(str(error)) from error


def session_id(task_id: str, host_nonce: bytes, feature_keys: Sequence[str], nonces: Sequence[bytes]) -> bytes:
    """32 bytes that no party can choose alone."""
    state = hashlib.sha256(b"secure-hfl session v1" + host_nonce)
    for text, nonce in ((task_id, b""), *zip(feature_keys, nonces)):
        state.update(len(text.encode()).to_bytes(8, "big") + text.encode() + nonce)
    return state.digest()
