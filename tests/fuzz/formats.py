"""Bytes of a format as a tree that `recipe.alter` can edit, and edited trees as bytes with lengths that fit again.

Writers take any tree: what does not belong into a format is left out or written as bytes, never an error.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from protocols.core.errors import MalformedMessage
from protocols.wire.varint import FIXED64, LENGTH, read_fields, write_varint
from tests.fuzz.recipe import Tree

MAX_ZEROS = (1 << 19) + 2


def octets(leaf: Tree) -> bytes:
    """A leaf as bytes. {"zeros": n} stands for so many zeros, so that a long chunk is a short recipe."""
    if isinstance(leaf, bytes):
        return leaf
    if isinstance(leaf, dict):
        count = leaf.get("zeros")
        return bytes(min(count, MAX_ZEROS)) if isinstance(count, int) and count > 0 else b""
    return b"" if leaf is None else str(leaf).encode(errors="replace")


# Protobuf: a list of {"n": field number, "t": wire type, "v": int, bytes or fields} ----------------------------------


def read_protobuf(data: bytes, depth: int) -> Tree:
    """A message's fields; those of its submessages too, `depth` levels deep, where they parse."""
    fields = []
    for number, wire_type, value in read_fields(memoryview(data)):
        inner: Tree = value if isinstance(value, int) else bytes(value)
        if isinstance(inner, bytes) and wire_type == LENGTH and depth:
            with suppress(MalformedMessage):
                inner = read_protobuf(inner, depth - 1) or inner
        fields.append({"n": number, "t": wire_type, "v": inner})
    return fields


def write_protobuf(tree: Tree) -> bytes:
    """The fields' records, in the tree's order, with the lengths that they have now."""
    out = b""
    for field in tree if isinstance(tree, list) else []:
        if not isinstance(field, dict):
            out += octets(field)
            continue
        number, wire_type, value = field.get("n"), field.get("t"), field.get("v")
        if isinstance(number, int) and isinstance(wire_type, int):
            out += _varint(number << 3 | wire_type & 7)
        if wire_type == LENGTH or isinstance(value, list):
            body = write_protobuf(value) if isinstance(value, list) else octets(value)
            out += _varint(len(body)) + body
        elif isinstance(value, int):
            out += value.to_bytes(16, "little", signed=True)[:8] if wire_type == FIXED64 else _varint(value)
        else:
            out += octets(value)
    return out


def _varint(value: int) -> bytes:
    return write_varint(value & (1 << 70) - 1)


# DER: a list of [tag, bytes or elements] ------------------------------------------------------------------------------

_CONSTRUCTED = 0x20
_OCTET_STRING = 4


def read_der(data: bytes) -> Tree:
    """The elements that stand one after the other. Raises ValueError if they do not fill the bytes."""
    elements, at = [], 0
    while at < len(data):
        if at + 2 > len(data) or data[at] & 31 == 31:
            raise ValueError("not DER")
        tag, size, at = data[at], data[at + 1], at + 2
        if size >= 128:
            width = size & 127
            size, at = int.from_bytes(data[at : at + width], "big"), at + width
        if at + size > len(data):
            raise ValueError("not DER")
        content: Tree = data[at : at + size]
        if tag & _CONSTRUCTED or tag == _OCTET_STRING:
            try:
                content = read_der(content) or content
            except ValueError:
                if tag & _CONSTRUCTED:
                    raise
        elements.append([tag, content])
        at += size
    return elements


def write_der(tree: Tree) -> bytes:
    """The elements, with the lengths that they have now."""
    out = b""
    for element in tree if isinstance(tree, list) else []:
        if not isinstance(element, list) or len(element) != 2 or not isinstance(element[0], int):
            out += octets(element)
            continue
        tag, content = element
        body = write_der(content) if isinstance(content, list) else octets(content)
        size = len(body)
        width = (size.bit_length() + 7) // 8
        length = bytes((size,)) if size < 128 else bytes((128 + width,)) + size.to_bytes(width, "big")
        out += bytes((tag & 255,)) + length + body
    return out


# JSON, and texts of words ---------------------------------------------------------------------------------------------

NESTED = 20_000
DIGITS = "9" * 5000


def write_json(tree: Tree, **options: Any) -> bytes:
    """A tree as JSON. The text "@nested@" becomes a list in a list in a list, and 5000 digits become a number."""
    text = json.dumps(tree, default=lambda leaf: octets(leaf).decode("latin-1"), **options)
    text = text.replace('"@nested@"', "[" * NESTED + "]" * NESTED)
    return text.replace(f'"{DIGITS}"', DIGITS).encode(errors="replace")


def read_words(line: bytes) -> Tree:
    """A line's words: integers as such."""
    return [int(word) if word.isdigit() and len(word) < 20 else word for word in line.split(b" ")]


def write_words(tree: Tree) -> bytes:
    """The words of a line."""
    return b" ".join(map(octets, tree)) if isinstance(tree, list) else octets(tree)
