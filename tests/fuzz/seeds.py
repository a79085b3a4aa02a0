#!/usr/bin/env python3
"""Writes the seeds of `corpus/` from the golden vectors: few, and the same in every run. Removes nothing: inputs that
fuzzing has found stay."""

import hashlib
import hmac
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
    """Yields every field of this name, at any depth, as bytes."""
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


def attribute(kind, value):
    """Encodes an attribute of STUN."""
    return struct.pack(">HH", kind, len(value)) + value + bytes(-len(value) % 4)


def binding_request(name):
    """A STUN request with the right code, if the password is the first half of the name."""
    body = attribute(6, name) + attribute(0x25, b"")
    head = struct.pack(">HHI", 1, len(body) + 24, 0x2112A442) + 12 * b"t"
    code = hmac.new(name.split(b":")[0], head + body, hashlib.sha1).digest()
    return head + body + attribute(8, code)


def listed(items):
    """Encodes a list as Borsh does."""
    return struct.pack("<I", len(items)) + b"".join(items)


readings = first(fields(vectors("readings"), "reading"))
ids = first(fields(vectors("readings"), "id"))
blocks = first(fields(vectors("blocks"), "block"))
hashes = first(fields(vectors("blocks"), "hash"))
headers = [block[:93] for block in blocks]
sealed_readings = first(fields(vectors("sealed"), "reading"))
sealed_blocks = first(fields(vectors("private_blocks"), "block"))
author = readings[0][:32]
claim = hashes[0] + struct.pack("<Q", 1) + struct.pack("<Q", 255) + bytes(24) + struct.pack("<Q", 1_700_000_000_000)
# Without a binding, and with one of each kind of room.
statuses = [claim + b"\0"] + [
    claim + b"\1" + bytes.fromhex(vectors("sealed")[kind]["binding"]) for kind in ("open_binding", "binding")
]

write("reading", readings + first(fields(vectors("zip215"), "reading")) + sealed_readings)
write("header", headers)
write("block", blocks + first(fields(vectors("hostile"), "block")) + sealed_blocks[:2])
write("request", [b"\0" + status for status in statuses] + [
    b"\1" + listed(hashes),
    b"\2" + listed(hashes),
    b"\3\0",
    b"\3\1" + author + struct.pack("<Q", 3),
    b"\4" + listed(ids),
    b"\5\0",
    b"\5\1" + author,
])
write("response", [b"\0" + status for status in statuses] + [
    b"\1" + listed(headers),
    b"\2" + listed([b"\0", b"\1" + listed(readings[:2]), b"\1" + listed([])]),
    b"\3" + listed([author + struct.pack("<Q", 0) + ids[0]]),
    b"\4" + listed(readings[:2]),
    b"\2" + listed([b"\0", b"\1" + listed(sealed_readings[:2])]),
    b"\4" + listed(sealed_readings[:2]),
    b"\5" + listed(list(fields(vectors("sealed")["open_profiles"], "profile"))),
    b"\5" + listed(list(fields(vectors("sealed")["profiles"], "profile"))),
])
write("profile", first(fields(vectors("sealed"), "profile")))
rooms = vectors("rooms")
write("token", [row["token"].encode() for row in rooms["private_rooms"] + rooms["refused_tokens"]])
move_files = json.loads((VECTORS / "../../vectors/move_files.json").read_text())
write("move_file", [bytes.fromhex(row[name]) for row in move_files for name in ("content", "file")])
# Floor bits, block interval, name.
write("room", [bytes([16]) + struct.pack("<Q", 1_000) + name.encode() for name in ("class", "심장", "a b")])
# Split into pieces of 3 bytes: a frame with data, one with a FIN flag, one with both, and one with an unknown field.
write("frame", [bytes([3, 4, 0x12, 2]) + b"hi" + bytes([2, 8, 0, 5, 8, 0, 0x12, 1, 0x78, 2, 0x18, 7])])
# An offer with a length prefix, and a candidate without.
write("signalling", [bytes([6, 8, 0, 0x12, 2]) + b"v=", bytes([8, 2, 0x12, 2]) + b"{}"])
# Registered for 120 s; registration refused; three registrations with a cookie; discovery refused; a request, which
# only a server receives.
registered = bytes([0x0A, 9, 0x0A, 4]) + b"room" + bytes([0x12, 1, 9])
write("rendezvous", [
    bytes([8, 1, 0x1A, 4, 8, 0, 0x18, 120]),
    bytes([8, 1, 0x1A, 3, 8, 0xC8, 1]),
    bytes([8, 4, 0x32, 3 * len(registered) + 4]) + 3 * registered + bytes([0x12, 2, 4, 5]),
    bytes([8, 4, 0x32, 2, 0x18, 103]),
    bytes([8, 3, 0x2A, 5, 0x0A, 1]) + b"r" + bytes([0x10, 5]),
])
relay = "/ip4/127.0.0.1/tcp/8081/ws/p2p/12D3KooWNpDk9w6WrEEcdsEH1y47W71S36yFjw4sd3j7omzgCSMS"
certhash = "uEiAsGPzpiPGQzSlVHRXrUCT5EkTV7YFrV4VZ3hpEKTd_zg"
write("address", [text.encode() for text in (
    relay,
    relay + "/p2p-circuit/p2p/12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5",
    relay + "/p2p-circuit/webrtc/p2p/12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5",
    "/dns4/relay.example/tcp/443/tls/ws",
    "/dns/relay.example/tcp/443/wss",
    "/ip6/::1/tcp/8081/ws",
    "/ip4/127.0.0.1/udp/8082/webrtc-direct/certhash/" + certhash,
    "/ip4/127.0.0.1/udp/8081/quic-v1",
    "stun:[fd00::1]:3478",
    "turns:relay.example:443?transport=tcp",
    "http://127.0.0.1:8080",
    # Error messages must truncate long input.
    "/" + 2_000 * "x",
)])
write("hex", [hashes[0].hex().encode(), hashes[0].hex().upper().encode(), (2 * hashes[0]).hex().encode()])
# Any bytes parse as steps and as file pieces; these seeds differ in every byte.
steps = [
    bytes((at * 2_654_435_761 >> 13 ^ number * 37) & 0xFF for at in range(600)) for number in range(8)
]
write("machine", steps)
write("import", steps)
ufrag = b"libp2p+webrtc+v1/" + 8 * b"x"
write("stun", [
    binding_request(ufrag + b":" + ufrag),
    binding_request(b"libp2p+webrtc+v2/" + 22 * b"p" + b":abcd"),
    binding_request(b"evtj:h6vY"),
    struct.pack(">HHI", 0x101, 24, 0x2112A442) + 12 * b"t" + attribute(8, bytes(20)),
])
# A request, a ClientHello, its echo twice, the same from an address of another network, and the end of both.
opening = [0, 16, 130, 16, 2, 16, 2, 16, 0, 17, 130, 17, 2, 17, 5, 0, 5, 16, 7, 240]
write("socket", [*steps, bytes(opening)])
write("stack", steps)
