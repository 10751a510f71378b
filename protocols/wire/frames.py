"""Messages cut into frames, and put together again.

    frame 1   message_length = L, chunk        (512 KiB, or all of a shorter message)
    frame n   chunk                            (512 KiB, the last one the rest)

Every frame's size follows from L, so a peer cannot make us hold more than L bytes and the receiver refuses a message
by its announced length before it holds any of it. Nothing is allocated ahead of what has arrived. A chunk is copied
once on each side, which is why frames are written and read through `wire` (the bytes are the protobuf library's).
"""

from __future__ import annotations

from collections.abc import Iterator

from protocols.core.errors import AnnouncedTooLarge, MalformedMessage
from protocols.wire.sizes import varint
from protocols.wire.varint import LENGTH, VARINT, Buffer, read_fields, write_tag, write_varint

CHUNK_BYTES = 1 << 19
"""Ciphertexts of a layer up to 32 wide travel in one frame: each frame costs both sides some turns of their threads."""
FRAME_SLACK = 64
"""More than a frame is longer than its chunk."""

GRPC_PREFIX_BYTES = 5

# The fields of message Frame in the .proto file; a test compares the bytes.
_LENGTH = (1, VARINT)
_CHUNK = (2, LENGTH)
END_FRAME = write_tag(3, VARINT) + write_varint(True)

_LENGTH_TAG = write_tag(*_LENGTH)
_CHUNK_TAG = write_tag(*_CHUNK)
_LENGTH_TAG_BYTES, _CHUNK_HEAD_BYTES = len(_LENGTH_TAG), GRPC_PREFIX_BYTES + len(_CHUNK_TAG)


def cut(message: bytes) -> Iterator[bytes]:
    """The frames of a message of at least one byte."""
    view = memoryview(message)
    head = _LENGTH_TAG + write_varint(len(message)) + _CHUNK_TAG
    for start in range(0, len(message), CHUNK_BYTES):
        chunk = view[start : start + CHUNK_BYTES]
        yield b"".join((head, write_varint(len(chunk)), chunk))
        head = _CHUNK_TAG


def wire_size(length: int) -> int:
    """Bytes that a message of this length takes in frames with gRPC's prefix; HTTP/2, TLS and TCP add 1 to 2 %."""
    size = _LENGTH_TAG_BYTES + varint(length) + length
    rest = length % CHUNK_BYTES
    if rest != length:
        size += length // CHUNK_BYTES * (_CHUNK_HEAD_BYTES + varint(CHUNK_BYTES))
    return size + _CHUNK_HEAD_BYTES + varint(rest) if rest else size


class Assembler:
    """Puts the frames of one direction together. Dead after an error.

    Args:
        max_message_bytes: The longest message it accepts.
    """

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        self._length = 0
        self._parts = bytearray()
        self.ended = False

    @property
    def announced(self) -> int:
        """Length of the message that is under way; 0 between messages."""
        return self._length

    def add(self, data: bytes) -> Buffer | None:
        """Take a frame; the message if this was its last.

        Raises:
            AnnouncedTooLarge: The announced length is above the limit.
            MalformedMessage: Not a frame, or not the frame that has to come now.
        """
        if self.ended:
            raise MalformedMessage("a frame came after the end of the stream")
        if data == END_FRAME:
            if self._length:
                raise MalformedMessage("the stream ended in the middle of a message")
            self.ended = True
            return None
        announced, chunk = 0, memoryview(b"")
        for number, wire_type, value in read_fields(memoryview(data)):
            if (number, wire_type) == _LENGTH and isinstance(value, int) and value and not announced:
                announced = value
            elif (number, wire_type) == _CHUNK and isinstance(value, memoryview) and value and not chunk:
                chunk = value
            else:
                raise MalformedMessage(f"a frame has an unknown, second or empty field {number}")
        return self._collect(announced, chunk)

    def _collect(self, announced: int, chunk: memoryview) -> Buffer | None:
        if bool(announced) is bool(self._length):
            raise MalformedMessage("a message's length must stand in its first frame, and nowhere else")
        if announced > self._max_message_bytes:
            raise AnnouncedTooLarge(
                f"a message of {announced} bytes was refused: {self._max_message_bytes} is the limit"
            )
        length = self._length or announced
        expected = min(CHUNK_BYTES, length - len(self._parts))
        if len(chunk) != expected:
            raise MalformedMessage(f"a frame holds {len(chunk)} bytes of a message instead of {expected}")
        if length == len(chunk):
            return chunk
        self._length = length
        self._parts += chunk
        if len(self._parts) < length:
            return None
        message = memoryview(self._parts).toreadonly()
        self._length, self._parts = 0, bytearray()
        return message
