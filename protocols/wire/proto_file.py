"""The .proto file that describes the wire, made from what the message types state. Run by proto/generate.sh.

For people, and for programs in other languages: nothing here reads it but a test, which compares the codec's bytes with
those of the protobuf library.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from re import sub

from protocols.core.envelope import Phase
from protocols.core.message import Message
from protocols.core.wire_format import FIRST_NUMBER, FIRST_PLUG_IN, check_distinct, wire_format
from protocols.wire.values import DTYPES

_HEAD = """\
// What parties say to each other. One bidirectional stream per collaborator; the host serves, collaborators connect.
//
// Made by proto/generate.sh from the message classes (protocols/core/wire_format.py says how to declare one): change
// those, not this file. Field numbers are never reused.

syntax = "proto3";

package secure_hfl;

service Party {
  // The whole conversation of one collaborator with the host about one task. Metadata: "task-id".
  rpc Exchange(stream Frame) returns (stream Frame);
}

// A piece of an Envelope. All pieces of a message but the last are exactly 512 KiB; messages never interleave.
message Frame {
  uint64 message_length = 1;  // bytes of the whole Envelope; only in its first frame
  bytes chunk = 2;            // 1 byte to 512 KiB
  bool end = 3;               // alone in the last frame of a stream: nothing was cut off
}
"""
_TENSOR = """\
// A non-empty array in C order, little-endian. At most 8 dimensions.
message Tensor {
  DType dtype = 1;
  repeated uint64 shape = 2;
  bytes data = 3;
}
"""


def proto_text(message_types: Iterable[type[Message]]) -> str:
    """The whole file, for conversations of these messages."""
    kinds = sorted(check_distinct(message_types), key=lambda kind: wire_format(kind).number)
    dtypes = {dtype.name.upper(): number for number, dtype in DTYPES.items()}
    parts = [_HEAD, _enum("DType", "DTYPE", dtypes), _TENSOR]
    parts.append("// The values of protocols.core.envelope.Phase.\n" + _enum("Phase", "PHASE", _phases()))
    parts.append(_envelope(kinds))
    for module, group in groupby(kinds, lambda kind: kind.__module__):
        name = f"{module.replace('.', '/')}.py "
        parts.append(f"// {name:-<115}\n")
        parts.extend(map(_message, group))
    return "\n".join(parts)


def _phases() -> dict[str, int]:
    return {phase.name: int(phase) for phase in Phase}


def _enum(name: str, prefix: str, values: dict[str, int]) -> str:
    lines = [f"  {value} = {number};" for value, number in {f"{prefix}_UNSPECIFIED": 0, **values}.items()]
    return "\n".join([f"enum {name} {{", *lines, "}", ""])


def _envelope(kinds: Sequence[type[Message]]) -> str:
    entries = [f"    {kind.__name__} {_snake(kind.__name__)} = {wire_format(kind).number};" for kind in kinds]
    header = ["  uint64 sequence = 1;", "  Phase phase = 2;", "  uint32 round = 3;", "  uint64 batch = 4;"]
    reserved = f"  reserved 5 to {FIRST_NUMBER - 1};"
    comment = f"// Numbers from {FIRST_PLUG_IN} on are for messages of schemes from outside this project."
    return "\n".join([comment, "message Envelope {", *header, reserved, "", "  oneof body {", *entries, "  }", "}", ""])


def _message(kind: type[Message]) -> str:
    return "\n".join([f"// {_first_line(kind.__doc__)}", f"message {kind.__name__} {{", *_fields(kind), "}", ""])


def _fields(kind: type[Message]) -> Iterator[str]:
    for field in wire_format(kind).fields:
        repeated = "repeated " if field.is_repeated else ""
        yield f"  {repeated}{field.type} {field.name} = {field.number};"


def _snake(name: str) -> str:
    """TaskFinished -> task_finished."""
    return sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _first_line(text: str | None) -> str:
    return (text or "").strip().split("\n")[0]
