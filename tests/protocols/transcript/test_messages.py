"""The two messages of an exchange of signatures check themselves."""

from __future__ import annotations

import pytest

from protocols.core.errors import InvalidInput
from protocols.core.message import Message
from protocols.transcript.messages import Checkpoint, Countersignature

HEAD, SIGNATURE = bytes(32), bytes(70)


@pytest.mark.parametrize("message_type", [Checkpoint, Countersignature])
def test_malformed_messages_are_refused(message_type: type[Message]) -> None:
    good = {"count": 0, "head": HEAD, "record": HEAD, "signature": SIGNATURE}
    if message_type is Countersignature:
        del good["record"]
    message_type(**good)
    bad = {"count": [-1, 1 << 63, True, "0"], "head": [b"", bytes(31), bytes(33), "0" * 32], "record": [b"", bytes(33)]}
    bad["signature"] = [b"", bytes(7), bytes(73), "0" * 70]
    for name in good:
        for value in bad[name]:
            with pytest.raises(InvalidInput):
                message_type(**{**good, name: value})
