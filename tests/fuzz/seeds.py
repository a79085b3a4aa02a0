#!/usr/bin/env python3
"""Writes the seeds of `corpus/` from the golden vectors. Small, and the same every time. Removes nothing: inputs that
fuzzing found stay beside them."""

import json
import pathlib
import struct

HERE = pathlib.Path(__file__).parent
VECTORS = HERE / "../../wasm-node/chain/vectors"
SEEDS_A_FILE = 8
LONGEST = 1_000


def vectors(name):
    return json.loads((VECTORS / f"{name}.json").read_text())


def fields(value, name):
    """Every field of this name, at any depth, as bytes."""
    if isinstance(value, list):
        for item in value:
            yield from fields(item, name)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == name and isinstance(item, str):
                yield bytes.fromhex(item)
            else:
                yield from fields(item, name)


def write(target, seeds):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (folder / f"seed-{number:02}").write_bytes(seed)


def first(items):
    return [item for item in items if len(item) < LONGEST][:SEEDS_A_FILE]


def listed(items):
    """borsh's list."""
    return struct.pack("<I", len(items)) + b"".join(items)


readings = first(fields(vectors("readings"), "reading"))
ids = first(fields(vectors("readings"), "id"))
blocks = first(fields(vectors("blocks"), "block"))
hashes = first(fields(vectors("blocks"), "hash"))
headers = [block[:93] for block in blocks]
author = readings[0][:32]
status = hashes[0] + struct.pack("<Q", 1) + struct.pack("<Q", 255) + bytes(24) + struct.pack("<Q", 1_700_000_000_000)

write("reading", readings + first(fields(vectors("zip215"), "reading")))
write("header", headers)
write("block", blocks + first(fields(vectors("hostile"), "block")))
write("request", [
    b"\0" + status,
    b"\1" + listed(hashes),
    b"\2" + listed(hashes),
    b"\3\0",
    b"\3\1" + author + struct.pack("<Q", 3),
    b"\4" + listed(ids),
])
write("response", [
    b"\0" + status,
    b"\1" + listed(headers),
    b"\2" + listed([b"\0", b"\1" + listed(readings[:2]), b"\1" + listed([])]),
    b"\3" + listed([author + struct.pack("<Q", 0) + ids[0]]),
    b"\4" + listed(readings[:2]),
])
# Floor bits, the interval, the name.
write("room", [bytes([16]) + struct.pack("<Q", 1_000) + name.encode() for name in ("class", "심장", "a b")])
# Pieces of 3 bytes: data, an end, both at once, a field that nobody knows.
write("frame", [bytes([3, 4, 0x12, 2]) + b"hi" + bytes([2, 8, 0, 5, 8, 0, 0x12, 1, 0x78, 2, 0x18, 7])])
# An offer with its length, a candidate without.
write("signalling", [bytes([6, 8, 0, 0x12, 2]) + b"v=", bytes([8, 2, 0x12, 2]) + b"{}"])
# Any bytes are steps; these differ all along.
write("machine", [
    bytes((at * 2_654_435_761 >> 13 ^ number * 37) & 0xFF for at in range(600)) for number in range(8)
])
