"""Verifies a receipt (c2sp.org/tlog-proof) with nothing but the standard library and none of this project's code.

Ed25519 is RFC 8032's, over Python's integers: a few milliseconds a signature, for verifying alone.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Callable, List, Optional, Tuple

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
Point = Tuple[int, int, int, int]


class NotVerified(Exception):
    """The receipt does not show what it should; the text says why."""


def _add(a: Point, b: Point) -> Point:
    x = (a[1] - a[0]) * (b[1] - b[0]) % P
    y = (a[1] + a[0]) * (b[1] + b[0]) % P
    z, t = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = y - x, t - z, t + z, y + x
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def _times(scalar: int, point: Point) -> Point:
    total: Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = _add(total, point)
        point, scalar = _add(point, point), scalar >> 1
    return total


def _point(data: bytes) -> Optional[Point]:
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return (x, y, 1, x * y % P)


_BASE = _point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def ed25519(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a signature is this key's of this message."""
    if len(key) != 32 or len(signature) != 64 or _BASE is None:
        return False
    a, r = _point(key), _point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L
    left, right = _times(s, _BASE), _add(r, _times(h, a))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


def _checkpoint(note: str, log_key: str) -> Tuple[int, bytes]:
    """Size and root of a checkpoint that the log has signed."""
    name, stated, encoded = log_key.split("+", 2)
    key = base64.b64decode(encoded, validate=True)
    found = hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]
    if key[:1] != b"\x01" or found.hex() != stated:
        raise NotVerified("the key is not one of a log (type 1), or its id is another's")
    text, _, signatures = note.partition("\n\n")
    text += "\n"
    lines = text.split("\n")
    if len(lines) != 4 or lines[0] != name:
        raise NotVerified(f"the checkpoint is of {lines[0]!r}, not of {name!r}")
    for line in signatures.splitlines():
        dash, signer, encoded = line.split(" ", 2)
        signature = base64.b64decode(encoded, validate=True)
        if (dash, signer, signature[:4]) == ("\u2014", name, found) and ed25519(key[1:], text.encode(), signature[4:]):
            return int(lines[1]), base64.b64decode(lines[2], validate=True)
    raise NotVerified("the log has not signed the checkpoint")


def _root(leaf: bytes, index: int, size: int, proof: List[bytes]) -> Optional[bytes]:
    """The root that an inclusion proof leads to (RFC 9162, section 2.1.3.2)."""
    node, last, root = index, size - 1, leaf
    for other in proof:
        if last == 0:
            return None
        if node & 1 or node == last:
            root = hashlib.sha256(b"\x01" + other + root).digest()
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            root = hashlib.sha256(b"\x01" + root + other).digest()
        node, last = node >> 1, last >> 1
    return root if last == 0 else None


def entry(size: int, index: int, read: Callable[[str], bytes]) -> bytes:
    """The entry at an index of a log of this size, out of its bundle (C2SP tlog-tiles); `read` gets a path's bytes."""
    bundle, width = index // 256, min(256, size - index // 256 * 256)
    name, rest = f"{bundle % 1000:03}", bundle // 1000
    while rest:
        name, rest = f"x{rest % 1000:03}/{name}", rest // 1000
    data = read(f"entries/{name}" + (f".p/{width}" if width < 256 else ""))
    for _ in range(index % 256):
        data = data[2 + int.from_bytes(data[:2], "big") :]
    length = int.from_bytes(data[:2], "big")
    return data[2 : 2 + length]


def verify(receipt: str, log_key: str, read: Callable[[str], bytes]) -> Tuple[int, bytes]:
    """Index and entry of a receipt: the log has signed a tree in which this entry, as published, has this place.

    `log_key` is the log's verifier key, the first of the brand's lines of `coalition constitution keys`."""
    head, _, note = receipt.partition("\n\n")
    lines = head.split("\n")
    if lines[0] != "c2sp.org/tlog-proof@v1":
        raise NotVerified("this is no c2sp.org/tlog-proof@v1")
    # what a brand adds for the reader's convenience is authenticated by nothing
    rest = [line for line in lines[1:] if not line.startswith("extra ")]
    try:
        index = int(rest[0].removeprefix("index "))
        proof = [base64.b64decode(line, validate=True) for line in rest[1:]]
        size, root = _checkpoint(note, log_key)
        if not 0 <= index < size:
            raise NotVerified(f"index {index} is not in a log of {size} entries")
        found = entry(size, index, read)
    except (ValueError, IndexError) as error:
        raise NotVerified(f"the receipt cannot be read: {error}") from None
    if _root(hashlib.sha256(b"\x00" + found).digest(), index, size, proof) != root:
        raise NotVerified(f"the entry at {index} is not in the tree that the log has signed")
    return index, found
