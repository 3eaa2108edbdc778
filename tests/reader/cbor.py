"""CBOR (RFC 8949), as much of it as format v1 uses: no tags, no indefinite lengths."""

from struct import unpack

# Deeper than anything a writer nests.
DEPTH_MAX = 64


class Malformed(Exception):
    """Bytes that are no CBOR, or CBOR that format v1 has no use for."""


def decode(data):
    """The one value these bytes hold."""
    value, end = _value(data, 0, DEPTH_MAX)
    if end != len(data):
        raise Malformed("bytes follow the value")
    return value


def _argument(data, at):
    head = data[at] & 31
    if head < 24:
        return head, at + 1
    if head > 27:
        raise Malformed("an indefinite or reserved length")
    size = 1 << (head - 24)
    taken = data[at + 1 : at + 1 + size]
    if len(taken) < size:
        raise Malformed("cut short")
    return int.from_bytes(taken, "big"), at + 1 + size


def _value(data, at, depth):
    if depth == 0:
        raise Malformed("nested too deeply")
    if at >= len(data):
        raise Malformed("cut short")
    major = data[at] >> 5
    if major == 7:
        return _simple(data, at)
    number, at = _argument(data, at)
    if major == 0:
        return number, at
    if major == 1:
        return -1 - number, at
    if major in (2, 3):
        taken = data[at : at + number]
        if len(taken) < number:
            raise Malformed("cut short")
        return (bytes(taken) if major == 2 else str(taken, "utf-8")), at + number
    if major == 4:
        return _items(data, at, number, depth)
    if major == 5:
        flat, at = _items(data, at, 2 * number, depth)
        return dict(zip(flat[::2], flat[1::2])), at
    raise Malformed("a tag")


def _items(data, at, count, depth):
    items = []
    for _ in range(count):
        item, at = _value(data, at, depth - 1)
        items.append(item)
    return items, at


def _simple(data, at):
    constants = {20: False, 21: True, 22: None}
    head = data[at] & 31
    if head in constants:
        return constants[head], at + 1
    if head == 27 and len(data) >= at + 9:
        return unpack(">d", data[at + 1 : at + 9])[0], at + 9
    raise Malformed(f"simple value {head}")
