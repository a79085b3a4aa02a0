#!/usr/bin/env python3
"""Verifies a JSON export of a Heartchain room, following the documented format (wasm-node/EXPORT.md).

Shares no code with Heartchain, needs only Python's standard library, and trusts nothing in the file: it recomputes
every hash, target, root and sequence number, and verifies every signature by ZIP-215. The readings of a private room are
sealed: all rules can be checked without its key. With the key, the verifier also opens them, and says how many it cannot
read.

    verify.py FILE [TOKEN]      prints a summary and exits with 0, or prints the first error and exits with 1

TOKEN is the key of a private room as its link has it, after "#private=".
"""

import base64
import hashlib
import hmac
import json
import struct
import sys
import unicodedata

FORMAT = "heartchain/export/2"
MAX_TIME = 8_640_000_000_000_000
MAX_BLOCK_READINGS = 1_024
MAX_AUTHOR_READINGS = 128
MAX_BLOCK_BYTES = 128 * 1024
MAX_PROFILES = 4_096
WINDOW = 60
# Unicode's property White_Space, of which str.strip has a wider idea.
WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))

# Characters that cannot be seen, and those of them that choose the form of the one before, as docs/chain.md lists them.
HIDDEN = (
    (0x0, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x34F, 0x34F), (0x600, 0x605), (0x61C, 0x61C), (0x6DD, 0x6DD),
    (0x70F, 0x70F), (0x890, 0x891), (0x8E2, 0x8E2), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x200B, 0x200F), (0x2028, 0x202E), (0x2060, 0x206F), (0x2800, 0x2800), (0x3164, 0x3164), (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB), (0x110BD, 0x110BD), (0x110CD, 0x110CD), (0x13430, 0x1343F),
    (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)
VARIATION_SELECTORS = (
    (0x180B, 0x180D), (0x180F, 0x180F), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF),
)

class InvalidExport(Exception):
    """The file is not a valid export."""


def require(holds, message):
    if not holds:
        raise InvalidExport(message)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


# --- Ed25519 signatures by ZIP-215: https://zips.z.cash/zip-0215 -----------------------------------------------------

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
    """Decodes a point to extended coordinates. Accepts non-canonical encodings, as ZIP-215 requires."""
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
    """Whether the key is a canonically encoded curve point that is not of small order."""
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
    require(not bits & 0x00800000, f"bits {bits:#010x} are negative")
    target = mantissa << 8 * (size - 3) if size >= 3 else mantissa >> 8 * (3 - size)
    require(0 < target < 2**256, f"bits {bits:#010x} are not a valid target")
    return target


def bits_of(target):
    size = (target.bit_length() + 7) // 8
    mantissa = target >> 8 * (size - 3) if size >= 3 else target << 8 * (3 - size)
    if mantissa & 0x00800000:
        mantissa, size = mantissa >> 8, size + 1
    return size << 24 | mantissa


def median_time_past(times):
    """The median time of the last eleven blocks, given the times of all blocks after genesis; 0 for an empty list."""
    latest = sorted(times[-11:])
    return latest[len(latest) // 2] if latest else 0


class Difficulty:
    """Computes the bits that the difficulty rule requires, block after block."""

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


# --- Private rooms: RFC 5869 and RFC 8452 -----------------------------------------------------------------------------


def times_x(byte):
    return (byte << 1) ^ (0x11B if byte & 0x80 else 0)


def multiply_bytes(a, b):
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a, b = times_x(a), b >> 1
    return product


def substitute(byte):
    """The S-box of AES: the inverse in GF(2^8), then an affine map."""
    inverse = byte
    for _ in range(6):
        inverse = multiply_bytes(multiply_bytes(inverse, inverse), byte)
    inverse = multiply_bytes(inverse, inverse)
    rotated = inverse * 0x0101
    return (inverse ^ rotated >> 7 ^ rotated >> 6 ^ rotated >> 5 ^ rotated >> 4 ^ 0x63) & 0xFF


SBOX = bytes(substitute(byte) for byte in range(256))
DOUBLE = bytes(times_x(byte) for byte in range(256))


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


class Aes256:
    """Encrypts blocks with AES-256 (FIPS 197)."""

    def __init__(self, key):
        words, constant = [key[at:at + 4] for at in range(0, 32, 4)], 1
        while len(words) < 60:
            word = words[-1]
            if len(words) % 8 == 0:
                word = xor((word[1:] + word[:1]).translate(SBOX), bytes([constant, 0, 0, 0]))
                constant = times_x(constant)
            elif len(words) % 8 == 4:
                word = word.translate(SBOX)
            words.append(xor(word, words[-8]))
        self.round_keys = [b"".join(words[at:at + 4]) for at in range(0, 60, 4)]

    def encrypt(self, block):
        state = xor(block, self.round_keys[0])
        for number, key in enumerate(self.round_keys[1:], 1):
            state = state.translate(SBOX)
            state = bytes(state[(at + 4 * (at % 4)) % 16] for at in range(16))
            if number < 14:
                state = b"".join(mix(state[at:at + 4]) for at in range(0, 16, 4))
            state = xor(state, key)
        return state


def mix(column):
    total = column[0] ^ column[1] ^ column[2] ^ column[3]
    return bytes(column[at] ^ total ^ DOUBLE[column[at] ^ column[(at + 1) % 4]] for at in range(4))


# x^128 + x^127 + x^126 + x^121 + 1, the polynomial of POLYVAL. Its bytes are little-endian.
FIELD = 1 << 128 | 1 << 127 | 1 << 126 | 1 << 121 | 1


def dot(a, b):
    """a · b · x^-128 in POLYVAL's field."""
    product = 0
    for at in range(128):
        if b >> at & 1:
            product ^= a << at
    for _ in range(128):
        product = (product ^ (FIELD if product & 1 else 0)) >> 1
    return product


def polyval(key, data):
    total, key = 0, int.from_bytes(key, "little")
    for at in range(0, len(data), 16):
        total = dot(total ^ int.from_bytes(data[at:at + 16], "little"), key)
    return total.to_bytes(16, "little")


def padded(data):
    return data + bytes(-len(data) % 16)


def gcm_siv_parts(key, nonce):
    """The key for authentication and the cipher for encryption."""
    cipher = Aes256(key)
    halves = [cipher.encrypt(struct.pack("<I", number) + nonce)[:8] for number in range(6)]
    return b"".join(halves[:2]), Aes256(b"".join(halves[2:]))


def gcm_siv_tag(auth_key, cipher, nonce, additional, plain):
    lengths = struct.pack("<QQ", 8 * len(additional), 8 * len(plain))
    total = polyval(auth_key, padded(additional) + padded(plain) + lengths)
    total = xor(total, nonce + bytes(4))
    return cipher.encrypt(total[:15] + bytes([total[15] & 0x7F]))


def gcm_siv_stream(cipher, tag, data):
    counter, rest = int.from_bytes(tag[:4], "little"), tag[4:15] + bytes([tag[15] | 0x80])
    blocks = []
    for at in range(0, len(data), 16):
        number = (counter + at // 16) % 2**32
        blocks.append(xor(cipher.encrypt(struct.pack("<I", number) + rest), data[at:at + 16]))
    return b"".join(blocks)


def seal(key, nonce, additional, plain):
    """AES-256-GCM-SIV (RFC 8452)."""
    auth_key, cipher = gcm_siv_parts(key, nonce)
    tag = gcm_siv_tag(auth_key, cipher, nonce, additional, plain)
    return gcm_siv_stream(cipher, tag, plain) + tag


def unseal(key, nonce, additional, sealed):
    """The plaintext, or None if the tag does not match."""
    auth_key, cipher = gcm_siv_parts(key, nonce)
    plain, tag = gcm_siv_stream(cipher, sealed[-16:], sealed[:-16]), sealed[-16:]
    return plain if gcm_siv_tag(auth_key, cipher, nonce, additional, plain) == tag else None


def derived_key(genesis, room_key, info):
    """HKDF-SHA256 (RFC 5869) to 32 bytes."""
    pseudorandom = hmac.digest(genesis, room_key, "sha256")
    return hmac.digest(pseudorandom, info + b"\x01", "sha256")


def key_of_token(token):
    require(len(token) == 48, f"the token has {len(token)} characters instead of 48")
    require(not set("+/") & set(token), "the token has a character that is not base64url")
    data = base64.b64decode(token, altchars=b"-_", validate=True)
    require(sha256(b"heartchain/link/2", data[:32])[:4] == data[32:], "the token was altered")
    return data[:32]


def commitment_of(key):
    return sha256(b"heartchain/room-key/2", key)


class Room:
    """A room's genesis, and its key if it is private and the key is known."""

    def __init__(self, given, key=None):
        self.private = "commitment" in given
        self.genesis = genesis_of(given)
        self.reading_key = self.profile_key = None
        if key is not None:
            require(self.private, "an open room has no key")
            require(commitment_of(key).hex() == given["commitment"], "the token is not that of this room")
            self.reading_key = derived_key(self.genesis, key, b"heartchain/reading-key/2")
            self.profile_key = derived_key(self.genesis, key, b"heartchain/profile-key/2")
        self.unreadable = self.unreadable_names = 0

    def open(self, author, seq, sealed):
        """Time and heart rate of a sealed reading, or None."""
        number = struct.pack("<Q", seq)
        nonce = sha256(b"heartchain/nonce/2", author, number)[:12]
        plain = unseal(self.reading_key, nonce, self.genesis + author + number, sealed)
        if plain is None:
            return None
        time, bpm = struct.unpack("<QH", plain)
        return (time, bpm) if time <= MAX_TIME and 20 <= bpm <= 400 else None


    def open_name(self, author, number, sealed):
        """The name in a sealed profile, or None."""
        nonce = sha256(b"heartchain/profile-nonce/2", author, number)[:12]
        plain = unseal(self.profile_key, nonce, self.genesis + author + number, sealed)
        if plain is None:
            return None
        try:
            name = plain.rstrip(b"\0").decode()
        except UnicodeDecodeError:
            return None
        return name if name_is_allowed(name) else None


# --- Readings and blocks --------------------------------------------------------------------------------------------


def merkle_root(leaves):
    """The Merkle tree hash of RFC 6962."""
    if not leaves:
        return sha256()
    if len(leaves) == 1:
        return sha256(b"\x00", leaves[0])
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01", merkle_root(leaves[:split]), merkle_root(leaves[split:]))


def whole(value, bits, what):
    require(isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**bits, f"{what} is {value!r}")
    return value


def unhex(value, length, what):
    require(isinstance(value, str) and len(value) == 2 * length and value == value.lower(), f"{what} is {value!r}")
    try:
        return bytes.fromhex(value)
    except ValueError:
        raise InvalidExport(f"{what} is {value!r}") from None


def content_of(reading, room, author, seq, what):
    """What the author signed besides its key and the sequence number."""
    if room.private:
        require(not {"time", "bpm"} & set(reading), f"{what}: time or heart rate is not sealed")
        sealed = unhex(reading["sealed"], 26, f"{what}: sealed")
        if room.reading_key is not None and room.open(author, seq, sealed) is None:
            room.unreadable += 1
        return sealed
    time = whole(reading["time"], 64, f"{what}: time")
    bpm = whole(reading["bpm"], 16, f"{what}: bpm")
    require(time <= MAX_TIME, f"{what}: time {time} is too late")
    require(20 <= bpm <= 400, f"{what}: bpm {bpm} is not a heart rate")
    return struct.pack("<QH", time, bpm)


def check_reading(reading, room, what):
    author = unhex(reading["author"], 32, f"{what}: author")
    signature = unhex(reading["signature"], 64, f"{what}: signature")
    seq = whole(reading["seq"], 64, f"{what}: seq")
    content = content_of(reading, room, author, seq, what)
    require(key_is_allowed(author), f"{what}: author is not a valid key")
    unsigned = author + struct.pack("<Q", seq) + content
    signed = b"heartchain/reading/2" + room.genesis + unsigned
    require(sha256(signed).hex() == reading["id"], f"{what}: id {reading['id']} does not match its content")
    require(signature_is_valid(author, signed, signature), f"{what}: the signature is not valid in this room")
    return author, seq, unsigned + signature


def name_is_allowed(name):
    hidden = [any(low <= ord(character) <= high for low, high in HIDDEN) for character in name]
    visible = [not is_hidden and not character.isspace() for character, is_hidden in zip(name, hidden)]
    # What stands before and after each character.
    before, after = [False] + visible[:-1], visible[1:] + [False]
    selects = [
        follows and any(low <= ord(character) <= high for low, high in VARIATION_SELECTORS)
        for character, follows in zip(name, before)
    ]
    joins = [
        character in "\u200c\u200d" and (follows or is_selected) and precedes
        for character, follows, is_selected, precedes in zip(name, before, [False] + selects[:-1], after)
    ]
    shown = all(not is_hidden or selected or joined for is_hidden, selected, joined in zip(hidden, selects, joins))
    return len(name.encode()) <= 40 and name == name.strip() and shown


def check_profile(profile, room, what):
    """Checks an author's name, and returns the author."""
    author = unhex(profile["author"], 32, f"{what}: author")
    signature = unhex(profile["signature"], 64, f"{what}: signature")
    revision = whole(profile["revision"], 64, f"{what}: revision")
    require(revision <= MAX_TIME, f"{what}: revision {revision} is too late")
    number = struct.pack("<Q", revision)
    if room.private:
        content = unhex(profile["sealed"], 56, f"{what}: sealed")
        if room.profile_key is not None and room.open_name(author, number, content) is None:
            room.unreadable_names += 1
    else:
        name = profile["name"]
        require(isinstance(name, str) and name_is_allowed(name), f"{what}: name is {name!r}")
        content = bytes([len(name.encode())]) + name.encode()
    require(key_is_allowed(author), f"{what}: author is not a valid key")
    signed = b"heartchain/profile/2" + room.genesis + author + number + content
    require(signature_is_valid(author, signed, signature), f"{what}: the signature is not valid in this room")
    return author


def header_bytes(index, time, prev_hash, root, bits, nonce):
    return struct.pack("<BQQ", 1, index, time) + prev_hash + root + struct.pack("<IQ", bits, nonce)


def kind_of(room):
    """The kind of the room as it is encoded: 0 and a name, or 1 and a commitment to a key."""
    if "commitment" in room:
        require("name" not in room, "a private room has a name")
        return b"\x01" + unhex(room["commitment"], 32, "the room's commitment")
    name = room["name"].encode()
    require(1 <= len(name) <= 64, f"the room's name is {room['name']!r}")
    require(room["name"].strip(WHITE_SPACE) == room["name"], f"the room's name, {room['name']!r}, is not trimmed")
    require(unicodedata.is_normalized("NFC", room["name"]), f"the room's name, {room['name']!r}, is not in normal form C")
    return b"\x00" + struct.pack("<I", len(name)) + name


def genesis_of(room):
    kind = kind_of(room)
    floor_bits, interval = room["floorBits"], room["blockIntervalMs"]
    require(8 <= whole(floor_bits, 8, "floorBits") <= 64, f"floorBits is {floor_bits}")
    require(100 <= whole(interval, 64, "blockIntervalMs") <= 600_000, f"blockIntervalMs is {interval}")
    params = kind + struct.pack("<BQ", floor_bits, interval)
    bits = bits_of(2 ** (256 - floor_bits))
    header = header_bytes(0, 0, sha256(b"heartchain/genesis/2", params), merkle_root([]), bits, 0)
    return sha256(header)


def check_block(block, index, parent, room, difficulty, next_seqs):
    what = f"block {index}"
    require(block["index"] == index, f"{what} has the index {block['index']}")
    prev_hash = unhex(block["prevHash"], 32, f"{what}: prevHash")
    require(prev_hash == parent, f"{what} follows {block['prevHash']}, not {parent.hex()}")
    time = whole(block["time"], 64, f"{what}: time")
    bits = whole(block["bits"], 32, f"{what}: bits")
    nonce = block["nonce"]
    require(isinstance(nonce, str) and nonce.isascii() and nonce.isdigit(), f"{what}: nonce is {nonce!r}")
    root = unhex(block["readingsRoot"], 32, f"{what}: readingsRoot")
    header = header_bytes(index, time, prev_hash, root, bits, whole(int(nonce), 64, f"{what}: nonce"))
    found = sha256(header)
    require(found.hex() == block["hash"], f"{what}: hash {block['hash']} does not match its header, {found.hex()}")
    required = difficulty.next_bits(time)
    require(bits == required, f"{what}: bits {bits:#010x} are not the required {required:#010x}")
    target = target_of(bits)
    require(int.from_bytes(found, "big") <= target, f"{what}: not enough work")
    past = median_time_past(difficulty.times)
    require(time > past, f"{what}: time {time} is not after the median, {past}")
    readings = block["readings"]
    require(1 <= len(readings) <= MAX_BLOCK_READINGS, f"{what} has {len(readings)} readings")
    leaves, counts = [], {}
    for position, reading in enumerate(readings):
        where = f"{what}, reading {position}"
        author, seq, data = check_reading(reading, room, where)
        counts[author] = counts.get(author, 0) + 1
        require(counts[author] <= MAX_AUTHOR_READINGS, f"{where}: its author has more than {MAX_AUTHOR_READINGS}")
        expected = next_seqs.get(author, 0)
        require(seq == expected, f"{where}: seq {seq} is not its author's next, {expected}")
        next_seqs[author] = expected + 1
        leaves.append(data)
    require(len(header) + 4 + sum(map(len, leaves)) <= MAX_BLOCK_BYTES, f"{what} is too long")
    require(merkle_root(leaves) == root, f"{what}: readingsRoot does not match its readings")
    difficulty.push(time, target)
    return found, 2**256 // (target + 1)


def verify(export, key=None):
    require(export["format"] == FORMAT, f"the format is {export['format']!r}, not {FORMAT!r}")
    given = export["room"]
    room = Room(given, key)
    genesis = room.genesis
    require(genesis.hex() == given["genesis"], f"genesis {given['genesis']} is not the room's, {genesis.hex()}")
    difficulty = Difficulty(given["floorBits"], given["blockIntervalMs"])
    next_seqs, work, tip = {}, 0, genesis
    for position, block in enumerate(export["blocks"]):
        tip, more = check_block(block, position + 1, tip, room, difficulty, next_seqs)
        work += more
    require(export["tip"] == {"index": len(export["blocks"]), "hash": tip.hex()}, f"the tip is not {tip.hex()}")
    require(export["totalWork"] == str(work), f"totalWork {export['totalWork']} is not {work}")
    sequence_numbers = set()
    for position, reading in enumerate(export["waiting"]):
        what = f"waiting reading {position}"
        author, seq, _ = check_reading(reading, room, what)
        require(seq >= next_seqs.get(author, 0), f"{what}: seq {seq} is already in the chain")
        require((author, seq) not in sequence_numbers, f"{what}: seq {seq} is in the file twice")
        sequence_numbers.add((author, seq))
    named = [check_profile(profile, room, f"profile {at}") for at, profile in enumerate(export["profiles"])]
    require(len(named) <= MAX_PROFILES, f"{len(named)} profiles are more than {MAX_PROFILES}")
    require(named == sorted(set(named)), "the profiles are not in the order of their authors, one of each")
    blocks, readings = len(export["blocks"]), sum(next_seqs.values())
    name = "private room" if room.private else repr(given["name"])
    unreadable = f", {room.unreadable} unreadable readings, {room.unreadable_names} unreadable names"
    unreadable = "" if room.reading_key is None else unreadable
    found = f"{blocks} blocks, {readings} readings, {len(sequence_numbers)} waiting, {len(named)} names"
    return f"{name}: {found}{unreadable}: valid"


def main():
    if len(sys.argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        with open(sys.argv[1], encoding="utf-8") as file:
            print(verify(json.load(file), *map(key_of_token, sys.argv[2:])))
        return 0
    except InvalidExport as error:
        print(f"not valid: {error}")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        print(f"not valid: unexpected structure ({type(error).__name__}: {error})")
    return 1


if __name__ == "__main__":
    sys.exit(main())
