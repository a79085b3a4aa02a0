"""Tests the verifier against the golden vectors, and against files with every possible change. tests/run.sh runs it."""

import copy
import hashlib
import json
import pathlib
import unicodedata
import unittest

import verify

VECTORS = pathlib.Path(__file__).parents[2] / "wasm-node" / "chain" / "vectors"


def vectors(name):
    return json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))


def reading_of(data, genesis):
    author, seq, content = data[:32], int.from_bytes(data[32:40], "little"), data[40:-64]
    signed = b"heartchain/reading/2" + genesis + data[:-64]
    reading = {
        "id": verify.sha256(signed).hex(),
        "author": author.hex(),
        "seq": seq,
        "signature": data[-64:].hex(),
    }
    if len(content) == 26:
        return {**reading, "sealed": content.hex()}
    return {**reading, "time": int.from_bytes(content[:8], "little"), "bpm": int.from_bytes(content[8:], "little")}


def public_key(seed):
    return compressed(verify.multiply(secret_scalar(seed), verify.BASE))


def secret_scalar(seed):
    data = bytearray(hashlib.sha512(seed).digest()[:32])
    data[0] &= 248
    data[31] = data[31] & 127 | 64
    return int.from_bytes(data, "little")


def compressed(point):
    inverse = pow(point[2], verify.P - 2, verify.P)
    x, y = point[0] * inverse % verify.P, point[1] * inverse % verify.P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def sign(seed, message):
    """Ed25519 (RFC 8032)."""
    def number(*parts):
        return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % verify.L

    nonce = number(hashlib.sha512(seed).digest()[32:], message)
    commitment = compressed(verify.multiply(nonce, verify.BASE))
    challenge = number(commitment, public_key(seed), message)
    return commitment + ((nonce + challenge * secret_scalar(seed)) % verify.L).to_bytes(32, "little")


def profile_of(seed, genesis, revision, name, key=None):
    """A signed name as an exported file has it, sealed if there is the key of a room."""
    author, number, name_bytes = public_key(seed), revision.to_bytes(8, "little"), name.encode()
    content, shown = bytes([len(name_bytes)]) + name_bytes, {"name": name}
    if key:
        profile_key = verify.derived_key(genesis, key, b"heartchain/profile-key/2")
        nonce = verify.sha256(b"heartchain/profile-nonce/2", author, number)[:12]
        content = verify.seal(profile_key, nonce, genesis + author + number, name_bytes.ljust(40, b"\0"))
        shown = {"sealed": content.hex()}
    signed = b"heartchain/profile/2" + genesis + author + number + content
    return {"author": author.hex(), "revision": revision, **shown, "signature": sign(seed, signed).hex()}


def any_room(genesis):
    """An open room with this genesis, of which nothing else is known."""
    room = verify.Room.__new__(verify.Room)
    room.private, room.genesis, room.reading_key, room.unreadable = False, genesis, None, 0
    room.profile_key = None
    return room


def room_of(given):
    """The room of a vector, as an exported file has it."""
    room = {"floorBits": given["floor_bits"], "blockIntervalMs": given["block_interval_ms"]}
    if "key" in given:
        return {**room, "commitment": verify.commitment_of(bytes.fromhex(given["key"])).hex()}
    return {**room, "name": given["name"]}


def block_of(data, genesis, length):
    """An encoded block as an exported file has it."""
    index, time = (int.from_bytes(data[at:at + 8], "little") for at in (1, 9))
    return {
        "index": index,
        "time": time,
        "prevHash": data[17:49].hex(),
        "hash": verify.sha256(data[:93]).hex(),
        "readingsRoot": data[49:81].hex(),
        "bits": int.from_bytes(data[81:85], "little"),
        "nonce": str(int.from_bytes(data[85:93], "little")),
        "readings": [reading_of(data[at:at + length], genesis) for at in range(97, len(data), length)],
    }


class SmallChain:
    """The chain of a file of vectors, to check blocks on its tip."""

    def __init__(self, name):
        export = export_of_vectors(name)
        given = vectors(name)["room"]
        self.room = verify.Room(export["room"])
        self.difficulty = verify.Difficulty(given["floor_bits"], given["block_interval_ms"])
        self.length, self.tip, self.index, self.next_seqs = 130 if self.room.private else 114, self.room.genesis, 1, {}
        for block in export["blocks"]:
            self.tip, _ = verify.check_block(
                block, self.index, self.tip, self.room, self.difficulty, self.next_seqs)
            self.index += 1

    def check(self, data):
        """The checks that an exported file cannot show: the encoding and the version. Then those of the verifier."""
        verify.require(len(data) <= verify.MAX_BLOCK_BYTES and len(data) >= 97, "length of the block")
        count = int.from_bytes(data[93:97], "little")
        verify.require(count <= verify.MAX_BLOCK_READINGS, "number of readings")
        verify.require(len(data) == 97 + count * self.length, "length of the readings")
        verify.require(data[0] == 1, "version")
        block = block_of(data, self.room.genesis, self.length)
        verify.check_block(
            block, self.index, self.tip, self.room, copy.deepcopy(self.difficulty), dict(self.next_seqs))


def bytes_of(case, given, length):
    """The bytes of a case: its parts as often as given, and then so many readings of `flood`."""
    parts = [[case["block"], 1]] if isinstance(case["block"], str) else case["block"]
    data = b"".join(bytes.fromhex(part) * times for part, times in parts)
    return data + bytes.fromhex(given.get("flood", ""))[:case.get("flood", 0) * length]


def signature_error(genesis, purpose, author, body, signature):
    """Whether the author of a profile or binding did not sign it."""
    signed = f"heartchain/{purpose}/2".encode() + genesis + body
    return not (verify.key_is_allowed(author) and verify.signature_is_valid(author, signed, signature))


def name_error(data):
    """Why bytes are not the name of an author, or None."""
    if len(data) > 40:
        return "TooLong"
    try:
        name = data.decode()
    except UnicodeDecodeError:
        return "Malformed"
    # What begins or ends with visible white space is judged without it, so that only the first mistake counts.
    spaces = [character for character in verify.WHITE_SPACE if unicodedata.category(character) == "Zs"]
    if not verify.name_is_allowed(name.strip("".join(spaces))):
        return "Invisible"
    return None if name.strip(verify.WHITE_SPACE) == name else "NotTrimmed"


def profile_error(data, genesis, private):
    """Why bytes are not a valid profile, or None. Opens no seal."""
    if len(data) < 105:
        return "Length/Length"
    content = data[40:-64]
    if int.from_bytes(data[32:40], "little") > verify.MAX_TIME:
        return "Revision"
    if len(content) != (56 if private else 1 + content[0]):
        return "Length/Length"
    if not private and name_error(content[1:]):
        return "Name/" + name_error(content[1:])
    return "Signature" if signature_error(genesis, "profile", data[:32], data[:-64], data[-64:]) else None


def bound_author(data, peer, genesis, key=None):
    """The author of a binding, or None. The key is that of a private room's bindings."""
    if key is not None and len(data) == 112:
        nonce = verify.sha256(b"heartchain/binding-nonce/2", peer)[:12]
        data = verify.unseal(key, nonce, genesis + peer, data)
    elif key is not None:
        return None
    if len(data or b"") != 96:
        return None
    author, signature = data[:32], data[32:]
    return None if signature_error(genesis, "binding", author, author + peer, signature) else author


def export_of_vectors(name="blocks"):
    """A chain of the vectors as an exported file."""
    given = vectors(name)
    room = room_of(given["room"])
    genesis = verify.genesis_of(room)
    length = 130 if "commitment" in room else 114
    key = bytes.fromhex(given["room"]["key"]) if "key" in given["room"] else None
    names = [(bytes([1]) * 32, "Ada"), (bytes([2]) * 32, "Zo\xeb"), (bytes([3]) * 32, "")]
    profiles = [profile_of(seed, genesis, 1_700_000_000_000, name, key) for seed, name in names]
    blocks = []
    for block in given["blocks"]:
        body = bytes.fromhex(block["block"])[97:]
        blocks.append({
            "index": block["index"],
            "time": block["time"],
            "prevHash": block["prev_hash"],
            "hash": block["hash"],
            "readingsRoot": block["readings_root"],
            "bits": block["bits"],
            "nonce": block["nonce"],
            "readings": [reading_of(body[at:at + length], genesis) for at in range(0, len(body), length)],
        })
    return {
        "format": verify.FORMAT,
        "exportedAt": 1_700_000_100_000,
        "room": {**room, "genesis": genesis.hex()},
        "tip": {"index": len(blocks), "hash": blocks[-1]["hash"]},
        "totalWork": given["blocks"][-1]["total_work"],
        "blocks": blocks,
        "waiting": [],
        "profiles": sorted(profiles, key=lambda profile: profile["author"]),
    }


class Vectors(unittest.TestCase):
    def test_rooms(self):
        given = vectors("rooms")
        for room in given["rooms"] + given["private_rooms"]:
            self.assertEqual(verify.genesis_of(room_of(room)).hex(), room["genesis_hash"])

    def test_names_and_numbers(self):
        given = vectors("rooms")
        for row in given["accepted_names"]:
            room = {"floorBits": 16, "blockIntervalMs": 1000, "name": row["name"]}
            self.assertEqual(verify.genesis_of(room).hex(), row["genesis_hash"], row)
        refused = [{"floorBits": 16, "blockIntervalMs": 1000, "name": row["name"]} for row in given["refused_names"]]
        refused += [{**room_of({**row, "name": "a"})} for row in given["refused_numbers"]]
        for room in refused:
            with self.assertRaises(verify.InvalidExport, msg=room):
                verify.genesis_of(room)

    def test_tokens(self):
        given = vectors("rooms")
        for room in given["private_rooms"]:
            self.assertEqual(verify.key_of_token(room["token"]).hex(), room["key"])
            self.assertEqual(verify.commitment_of(bytes.fromhex(room["key"])).hex(), room["commitment"])
        for refused in given["refused_tokens"]:
            with self.assertRaises((verify.InvalidExport, ValueError), msg=refused["token"]):
                verify.key_of_token(refused["token"])

    def test_cipher(self):
        for row in vectors("rfc8452"):
            key, nonce, additional, plain, sealed = (
                bytes.fromhex(row[name]) for name in ("key", "nonce", "additional", "plain", "sealed")
            )
            self.assertEqual(verify.seal(key, nonce, additional, plain), sealed)
            self.assertEqual(verify.unseal(key, nonce, additional, sealed), plain)
            self.assertIsNone(verify.unseal(key, nonce, additional + b"x", sealed))

    def test_sealed_readings(self):
        given = vectors("sealed")
        key, genesis = bytes.fromhex(given["key"]), bytes.fromhex(given["room"])
        for name in ("reading", "profile", "binding"):
            derived = verify.derived_key(genesis, key, f"heartchain/{name}-key/2".encode())
            self.assertEqual(derived.hex(), given[f"{name}_key"])
        room = verify.Room(room_of(given), key)
        self.assertEqual(room.genesis, genesis)
        for row in given["readings"]:
            sealed, author = bytes.fromhex(row["sealed"]), bytes.fromhex(row["author"])
            self.assertEqual(room.open(author, row["seq"], sealed), (row["time"], row["bpm"]))
            reading = reading_of(bytes.fromhex(row["reading"]), genesis)
            self.assertEqual(reading["id"], row["id"])
            verify.check_reading(reading, room, "reading")
        self.assertEqual(room.unreadable, 0)
        for row in given["unreadable"]:
            verify.check_reading(reading_of(bytes.fromhex(row["reading"]), genesis), room, row["name"])
        self.assertEqual(room.unreadable, len(given["unreadable"]))

    def test_profiles_and_bindings(self):
        given = vectors("sealed")
        for genesis, profiles, binding in (
            (given["room"], given["profiles"], given["binding"]),
            (given["open_room"], given["open_profiles"], given["open_binding"]),
        ):
            genesis = bytes.fromhex(genesis)
            for row in profiles:
                data, author = bytes.fromhex(row["profile"]), bytes.fromhex(row["author"])
                content, number = data[40:-64], row["revision"].to_bytes(8, "little")
                signed = b"heartchain/profile/2" + genesis + author + number + content
                self.assertTrue(verify.signature_is_valid(author, signed, data[-64:]))
                if "nonce" in row:
                    nonce = verify.sha256(b"heartchain/profile-nonce/2", author, number)[:12]
                    self.assertEqual(nonce.hex(), row["nonce"])
                    key = bytes.fromhex(given["profile_key"])
                    content = verify.unseal(key, nonce, genesis + author + number, content).rstrip(b"\0")
                else:
                    self.assertEqual(content[0], len(content) - 1)
                    content = content[1:]
                self.assertEqual(content.decode(), row["name"])
            data, peer = bytes.fromhex(binding["binding"]), bytes.fromhex(binding["peer"])
            if "nonce" in binding:
                nonce = verify.sha256(b"heartchain/binding-nonce/2", peer)[:12]
                self.assertEqual(nonce.hex(), binding["nonce"])
                data = verify.unseal(bytes.fromhex(given["binding_key"]), nonce, genesis + peer, data)
            self.assertEqual(data[:32].hex(), binding["author"])
            signed = b"heartchain/binding/2" + genesis + data[:32] + peer
            self.assertTrue(verify.signature_is_valid(data[:32], signed, data[32:]))

    def test_refused_profiles_and_bindings(self):
        given = vectors("sealed")
        private, opened = bytes.fromhex(given["room"]), bytes.fromhex(given["open_room"])
        for genesis, field, is_private in (
            (private, "profiles", True), (private, "refused_profiles", True), (private, "nameless_profiles", True),
            (opened, "open_profiles", False), (opened, "refused_open_profiles", False),
        ):
            for row in given[field]:
                error = profile_error(bytes.fromhex(row["profile"]), genesis, is_private)
                self.assertEqual(error, row.get("error"), row)
        key = bytes.fromhex(given["profile_key"])
        for row in given["nameless_profiles"]:
            data = bytes.fromhex(row["profile"])
            owner, sealed = data[:40], data[40:-64]
            nonce = verify.sha256(b"heartchain/profile-nonce/2", owner)[:12]
            name = verify.unseal(key, nonce, private + owner, sealed)
            self.assertTrue(not name or name_error(name.rstrip(b"\0")), row)
        for row in given["refused_names"]:
            self.assertEqual(name_error(row["name"].encode()), row["error"], row)
        key, peer = bytes.fromhex(given["binding_key"]), bytes.fromhex(given["binding"]["peer"])
        for genesis, honest, refused, key in (
            (private, "binding", "refused_bindings", key), (opened, "open_binding", "refused_open_bindings", None),
        ):
            honest = bytes.fromhex(given[honest]["binding"])
            self.assertIsNotNone(bound_author(honest, peer, genesis, key))
            for row in given[refused]:
                self.assertIsNone(bound_author(bytes.fromhex(row["binding"]), peer, genesis, key), row)

    def test_work(self):
        for row in vectors("work")["compact"]:
            try:
                target = verify.target_of(row["bits"])
                found = (target, verify.bits_of(target), str(2**256 // (target + 1)))
            except verify.InvalidExport:
                found = None
            expected = None if "error" in row else (int(row["target"], 16), row["rewritten"], row["work"])
            self.assertEqual(found, expected, row)

    def test_difficulty_limits(self):
        given = vectors("difficulty_limits")
        for branch in given["branches"]:
            difficulty = verify.Difficulty(branch["floor_bits"], branch["block_interval_ms"])
            time, rows, quiet = given["start"], {row[0]: row for row in branch["rows"]}, []
            for step in (step for count, step in branch["steps"] for _ in range(count)):
                time += step
                index, bits = len(difficulty.times) + 1, difficulty.next_bits(time)
                if difficulty.is_quiet(time):
                    quiet.append(index)
                difficulty.push(time, verify.target_of(bits))
                if index in rows:
                    past = verify.median_time_past(difficulty.times)
                    self.assertEqual([index, time, bits, past], rows.pop(index), branch["name"])
            self.assertEqual((quiet, rows), (branch["quiet_blocks"], {}), branch["name"])

    def test_hostile_blocks(self):
        for chain, name in (("blocks", "hostile"), ("private_blocks", "private_hostile")):
            given, tip = vectors(name), SmallChain(chain)
            tip.check(bytes.fromhex(given["honest"]))
            for case in given["valid"]:
                with self.subTest(case["name"]):
                    tip.check(bytes_of(case, given, tip.length))
            for case in given["hostile"]:
                # An exported file has no clock.
                if case["error"] != "Header/TooEarly":
                    with self.subTest(case["name"]), self.assertRaises(verify.InvalidExport):
                        tip.check(bytes_of(case, given, tip.length))

    def test_difficulty(self):
        given = vectors("difficulty")
        difficulty = verify.Difficulty(given["floor_bits"], given["block_interval_ms"])
        for time, bits, past in given["blocks_from_index_1"]:
            self.assertEqual(difficulty.next_bits(time), bits)
            difficulty.push(time, verify.target_of(bits))
            self.assertEqual(verify.median_time_past(difficulty.times), past)

    def test_signatures(self):
        given = vectors("zip215")
        genesis = bytes.fromhex(given["room"])
        room = any_room(genesis)
        for case in given["cases"]:
            reading = reading_of(bytes.fromhex(case["reading"]), genesis)
            try:
                verify.check_reading(reading, room, case["name"])
                valid = True
            except verify.InvalidExport:
                valid = False
            self.assertEqual(valid, case["verdict"] == "valid", case["name"])

    def test_roots(self):
        for row in vectors("merkle")["roots"]:
            leaves = [
                bytes([i % 256]) * 32 + i.to_bytes(8, "little") + (1_700_000_000_000 + i).to_bytes(8, "little")
                + (20 + i % 381).to_bytes(2, "little") + bytes([255 - i % 256]) * 64
                for i in range(row["readings"])
            ]
            self.assertEqual(verify.merkle_root(leaves).hex(), row["root"])


class Files(unittest.TestCase):
    def test_valid_file_passes(self):
        self.assertIn("12 blocks", verify.verify(export_of_vectors()))

    def test_private_file_passes_with_and_without_its_key(self):
        export = export_of_vectors("private_blocks")
        key = bytes.fromhex(vectors("private_blocks")["room"]["key"])
        self.assertIn("private room: 12 blocks", verify.verify(export))
        self.assertIn("0 waiting, 3 names, 0 unreadable readings, 0 unreadable names", verify.verify(export, key))
        with self.assertRaisesRegex(verify.InvalidExport, "not that of this room"):
            verify.verify(export, bytes(32))
        with self.assertRaisesRegex(verify.InvalidExport, "no key"):
            verify.verify(export_of_vectors(), key)

    def test_too_many_readings_of_an_author_are_found(self):
        given = vectors("hostile")
        case = next(case for case in given["hostile"] if case["name"] == "129 readings of one author")
        export = export_of_vectors()
        genesis = bytes.fromhex(export["room"]["genesis"])
        export["blocks"].append(block_of(bytes_of(case, given, 114), genesis, 114))
        with self.assertRaisesRegex(verify.InvalidExport, "more than 128"):
            verify.verify(export)

    def test_names_are_checked(self):
        for name in ("blocks", "private_blocks"):
            honest = export_of_vectors(name)
            given = vectors(name)["room"]
            key = bytes.fromhex(given["key"]) if "key" in given else None
            self.assertIn("3 names", verify.verify(honest))
            profiles = honest["profiles"]
            for other in [profiles[::-1], profiles + profiles[-1:], profiles * 2]:
                with self.assertRaisesRegex(verify.InvalidExport, "the order of their authors"):
                    verify.verify({**honest, "profiles": other})
            genesis = bytes.fromhex(honest["room"]["genesis"])
            for bad in ["x" * 41, " x", "a\u202eb", "a\nb"]:
                if key and len(bad) > 40:
                    continue
                export = {**honest, "profiles": [profile_of(bytes(32), genesis, 7, bad, key)]}
                if key:
                    self.assertIn("1 names, 0 unreadable readings, 1 unreadable names", verify.verify(export, key))
                else:
                    with self.assertRaisesRegex(verify.InvalidExport, "name is"):
                        verify.verify(export)
            other_room = [profile_of(bytes(32), bytes(32), 7, "Ada", key)]
            with self.assertRaisesRegex(verify.InvalidExport, "not valid in this room"):
                verify.verify({**honest, "profiles": other_room})
            late = [profile_of(bytes(32), genesis, verify.MAX_TIME + 1, "Ada", key)]
            with self.assertRaisesRegex(verify.InvalidExport, "too late"):
                verify.verify({**honest, "profiles": late})

    def test_every_change_is_found(self):
        for name in ("blocks", "private_blocks"):
            self.check_every_change(export_of_vectors(name))

    def check_every_change(self, honest):
        for path in leaves(honest):
            if path == ("exportedAt",):
                continue
            tampered = copy.deepcopy(honest)
            *parents, last = path
            container = tampered
            for step in parents:
                container = container[step]
            container[last] = changed(container[last])
            with self.subTest(path=path), self.assertRaises((verify.InvalidExport, TypeError, ValueError)):
                verify.verify(tampered)

    def test_missing_repeated_and_moved_blocks_are_found(self):
        honest = export_of_vectors()
        blocks = honest["blocks"]
        for other in [blocks[:-1], blocks[1:], blocks[:3] + blocks[4:], blocks + blocks[-1:], blocks[::-1]]:
            with self.assertRaises(verify.InvalidExport):
                verify.verify({**honest, "blocks": other})
        with self.assertRaises(verify.InvalidExport):
            verify.verify({**honest, "waiting": [blocks[0]["readings"][0]]})


def leaves(value, path=()):
    """Yields the paths to all scalar values of a document; of lists only those in the first, second and last item."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from leaves(item, (*path, name))
    elif isinstance(value, list):
        for at in sorted({0, 1, len(value) - 1} & set(range(len(value)))):
            yield from leaves(value[at], (*path, at))
    else:
        yield path


def changed(value):
    if isinstance(value, int):
        return value + 1
    if value == "":
        return "x"
    first = "1" if value[:1] == "0" else "0"
    return first + value[1:]


if __name__ == "__main__":
    unittest.main()
