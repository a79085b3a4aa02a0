"""Tests the verifier against the golden vectors, and against files with every possible change. tests/run.sh runs it."""

import copy
import hashlib
import json
import pathlib
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
        hostile = {case["name"]: case for case in vectors("hostile")["hostile"]}
        block = bytes.fromhex(hostile["129 readings of one author"]["block"])
        export = export_of_vectors()
        genesis = bytes.fromhex(export["room"]["genesis"])
        index, time = (int.from_bytes(block[at:at + 8], "little") for at in (1, 9))
        export["blocks"].append({
            "index": index,
            "time": time,
            "prevHash": block[17:49].hex(),
            "hash": verify.sha256(block[:93]).hex(),
            "readingsRoot": block[49:81].hex(),
            "bits": int.from_bytes(block[81:85], "little"),
            "nonce": str(int.from_bytes(block[85:93], "little")),
            "readings": [reading_of(block[at:at + 114], genesis) for at in range(97, len(block), 114)],
        })
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
