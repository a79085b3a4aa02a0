#!/usr/bin/env python3
"""Checks a JSON export of a Heartchain room by the documentation alone (wasm-node/EXPORT.md).

It shares no code with Heartchain, needs nothing but Python's standard library, and believes nothing that the file says
of itself: every hash, target, root, count and signature is computed again. Signatures are judged by ZIP-215.

    verify.py FILE      prints what was checked and exits with 0, or says in words what is wrong and exits with 1
"""

import hashlib
import json
import struct
import sys

FORMAT = "heartchain/export/1"
MAX_TIME = 8_640_000_000_000_000
MAX_BLOCK_READINGS = 1_024
MAX_BLOCK_BYTES = 128 * 1024
WINDOW = 60


class Wrong(Exception):
    """The file is not what it should be."""


def need(holds, words):
    if not holds:
        raise Wrong(words)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


# --- Ed25519, as ZIP-215 has it: https://zips.z.cash/zip-0215 -------------------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


def recover_x(y, sign):
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P:
        return None
    return P - x if x % 2 != sign and x else x


def decode_point(data):
    """Any 32 bytes whose y has an x, canonical or not; in extended coordinates."""
    number = int.from_bytes(data, "little")
    y = (number & (2**255 - 1)) % P
    x = recover_x(y, number >> 255)
    return None if x is None else (x, y, 1, x * y % P)


def add(p, q):
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


NEUTRAL = (0, 1, 1, 0)
BASE_Y = 4 * pow(5, P - 2, P) % P
BASE_X = recover_x(BASE_Y, 0)
BASE = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)


def multiply(scalar, point):
    result = NEUTRAL
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def is_neutral(point):
    return point[0] % P == 0 and (point[1] - point[2]) % P == 0


def negate(point):
    return (P - point[0], point[1], point[2], P - point[3])


def signature_is_valid(key, message, signature):
    r_bytes, s = signature[:32], int.from_bytes(signature[32:], "little")
    a, r = decode_point(key), decode_point(r_bytes)
    if a is None or r is None or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(r_bytes + key + message).digest(), "little") % L
    difference = add(multiply(s, BASE), negate(add(r, multiply(k, a))))
    return is_neutral(multiply(8, difference))


def key_is_allowed(key):
    """Canonically encoded, a point of the curve, and not of small order."""
    number = int.from_bytes(key, "little")
    point = decode_point(key)
    if point is None or (number & (2**255 - 1)) >= P:
        return False
    if point[0] == 0 and number >> 255:
        return False
    return not is_neutral(multiply(8, point))


# --- Work and difficulty --------------------------------------------------------------------------------------------


def target_of(bits):
    size, mantissa = bits >> 24, bits & 0x007FFFFF
    need(not bits & 0x00800000, f"bits {bits:#010x} are negative")
    target = mantissa << 8 * (size - 3) if size >= 3 else mantissa >> 8 * (3 - size)
    need(0 < target < 2**256, f"bits {bits:#010x} are no target")
    return target


def bits_of(target):
    size = (target.bit_length() + 7) // 8
    mantissa = target >> 8 * (size - 3) if size >= 3 else target << 8 * (3 - size)
    if mantissa & 0x00800000:
        mantissa, size = mantissa >> 8, size + 1
    return size << 24 | mantissa


def median_time_past(times):
    """Of the block that the list of all times but genesis' ends with; 0 for genesis."""
    latest = sorted(times[-11:])
    return latest[len(latest) // 2] if latest else 0


class Difficulty:
    """The bits that the rule asks for, block after block."""

    def __init__(self, floor_bits, interval):
        self.floor = 2 ** (256 - floor_bits)
        self.interval = interval
        self.times, self.targets, self.solves = [], [], []
        self.latest_quiet = 0

    def is_quiet(self, time):
        index = len(self.times) + 1
        if index < 2:
            return False
        return time - max(self.times[-11:]) > max(60_000, 60 * self.interval)

    def next_bits(self, time):
        if self.is_quiet(time):
            return bits_of(self.floor)
        index = len(self.times) + 1
        targets, weighted = 0, 0
        for j in range(1, WINDOW + 1):
            at = index - (WINDOW + 1) + j
            counts = at >= 2 and at >= self.latest_quiet
            targets += self.targets[at - 1] if counts else self.floor
            weighted += j * (self.solves[at - 1] if counts else self.interval)
        following = targets * weighted // (WINDOW * (WINDOW * (WINDOW + 1) // 2) * self.interval)
        parent = self.targets[-1] if self.targets else target_of(bits_of(self.floor))
        following = min(max(following, parent // 4), parent * 4)
        return bits_of(min(max(following, 1), self.floor))

    def push(self, time, target):
        quiet = self.is_quiet(time)
        before = median_time_past(self.times)
        self.times.append(time)
        self.targets.append(target)
        self.solves.append(min(median_time_past(self.times) - before, 6 * self.interval))
        if quiet:
            self.latest_quiet = len(self.times)


# --- Readings and blocks --------------------------------------------------------------------------------------------


def merkle_root(leaves):
    """RFC 6962."""
    if not leaves:
        return sha256()
    if len(leaves) == 1:
        return sha256(b"\x00", leaves[0])
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01", merkle_root(leaves[:split]), merkle_root(leaves[split:]))


def whole(value, bits, what):
    need(isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**bits, f"{what} is {value!r}")
    return value


def unhex(value, length, what):
    need(isinstance(value, str) and len(value) == 2 * length and value == value.lower(), f"{what} is {value!r}")
    try:
        return bytes.fromhex(value)
    except ValueError:
        raise Wrong(f"{what} is {value!r}") from None


def check_reading(reading, genesis, what):
    author = unhex(reading["author"], 32, f"{what}: author")
    signature = unhex(reading["signature"], 64, f"{what}: signature")
    seq = whole(reading["seq"], 64, f"{what}: seq")
    time = whole(reading["time"], 64, f"{what}: time")
    bpm = whole(reading["bpm"], 16, f"{what}: bpm")
    need(time <= MAX_TIME, f"{what}: time {time} is too late")
    need(20 <= bpm <= 400, f"{what}: bpm {bpm} is no heart rate")
    need(key_is_allowed(author), f"{what}: author is no key")
    claim = author + struct.pack("<QQH", seq, time, bpm)
    signed = b"heartchain/reading/1" + genesis + claim
    need(sha256(signed).hex() == reading["id"], f"{what}: id {reading['id']} is not its own")
    need(signature_is_valid(author, signed, signature), f"{what}: signature is not its author's in this room")
    return author, seq, claim + signature


def header_bytes(index, time, prev_hash, root, bits, nonce):
    return struct.pack("<BQQ", 1, index, time) + prev_hash + root + struct.pack("<IQ", bits, nonce)


def genesis_of(room):
    name = room["name"].encode()
    need(1 <= len(name) <= 64, f"the room's name is {room['name']!r}")
    floor_bits, interval = room["floorBits"], room["blockIntervalMs"]
    need(8 <= whole(floor_bits, 8, "floorBits") <= 64, f"floorBits is {floor_bits}")
    need(100 <= whole(interval, 64, "blockIntervalMs") <= 600_000, f"blockIntervalMs is {interval}")
    params = struct.pack("<I", len(name)) + name + struct.pack("<BQ", floor_bits, interval)
    bits = bits_of(2 ** (256 - floor_bits))
    header = header_bytes(0, 0, sha256(b"heartchain/genesis/1", params), merkle_root([]), bits, 0)
    return sha256(header)


def check_block(block, index, parent, genesis, difficulty, counts):
    what = f"block {index}"
    need(block["index"] == index, f"{what} says that it is block {block['index']}")
    prev_hash = unhex(block["prevHash"], 32, f"{what}: prevHash")
    need(prev_hash == parent, f"{what} stands on {block['prevHash']}, not on {parent.hex()}")
    time = whole(block["time"], 64, f"{what}: time")
    bits = whole(block["bits"], 32, f"{what}: bits")
    nonce = block["nonce"]
    need(isinstance(nonce, str) and nonce.isascii() and nonce.isdigit(), f"{what}: nonce is {nonce!r}")
    root = unhex(block["readingsRoot"], 32, f"{what}: readingsRoot")
    header = header_bytes(index, time, prev_hash, root, bits, whole(int(nonce), 64, f"{what}: nonce"))
    found = sha256(header)
    need(found.hex() == block["hash"], f"{what}: hash {block['hash']} is not its own, {found.hex()}")
    asked = difficulty.next_bits(time)
    need(bits == asked, f"{what}: bits {bits:#010x} are not the {asked:#010x} that the rule asks for")
    target = target_of(bits)
    need(int.from_bytes(found, "big") <= target, f"{what}: not enough work")
    past = median_time_past(difficulty.times)
    need(time > past, f"{what}: time {time} is not after the median, {past}")
    readings = block["readings"]
    need(1 <= len(readings) <= MAX_BLOCK_READINGS, f"{what} has {len(readings)} readings")
    leaves = []
    for position, reading in enumerate(readings):
        where = f"{what}, reading {position}"
        author, seq, data = check_reading(reading, genesis, where)
        expected = counts.get(author, 0)
        need(seq == expected, f"{where}: seq {seq} is not its author's next, {expected}")
        counts[author] = expected + 1
        leaves.append(data)
    need(len(header) + 4 + sum(map(len, leaves)) <= MAX_BLOCK_BYTES, f"{what} is too long")
    need(merkle_root(leaves) == root, f"{what}: readingsRoot is not that of its readings")
    difficulty.push(time, target)
    return found, 2**256 // (target + 1)


def verify(export):
    need(export["format"] == FORMAT, f"the format is {export['format']!r}, not {FORMAT!r}")
    room = export["room"]
    genesis = genesis_of(room)
    need(genesis.hex() == room["genesis"], f"genesis {room['genesis']} is not the room's, {genesis.hex()}")
    difficulty = Difficulty(room["floorBits"], room["blockIntervalMs"])
    counts, work, tip = {}, 0, genesis
    for position, block in enumerate(export["blocks"]):
        tip, more = check_block(block, position + 1, tip, genesis, difficulty, counts)
        work += more
    need(export["tip"] == {"index": len(export["blocks"]), "hash": tip.hex()}, f"the tip is not {tip.hex()}")
    need(export["totalWork"] == str(work), f"totalWork {export['totalWork']} is not {work}")
    places = set()
    for position, reading in enumerate(export["waiting"]):
        what = f"waiting reading {position}"
        author, seq, _ = check_reading(reading, genesis, what)
        need(seq >= counts.get(author, 0), f"{what}: its place {seq} is taken")
        need((author, seq) not in places, f"{what}: its place {seq} is in the file twice")
        places.add((author, seq))
    blocks, readings = len(export["blocks"]), sum(counts.values())
    return f"{room['name']!r}: {blocks} blocks, {readings} readings, {len(places)} waiting: all as it should be"


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        with open(sys.argv[1], encoding="utf-8") as file:
            print(verify(json.load(file)))
        return 0
    except Wrong as wrong:
        print(f"not valid: {wrong}")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        print(f"not valid: no such document ({type(error).__name__}: {error})")
    return 1


if __name__ == "__main__":
    sys.exit(main())
