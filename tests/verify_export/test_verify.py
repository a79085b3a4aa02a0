"""Tests the verifier against the golden vectors, and against files with every possible change. tests/run.sh runs it."""

import copy
import json
import pathlib
import unittest

import verify

VECTORS = pathlib.Path(__file__).parents[2] / "wasm-node" / "chain" / "vectors"


def vectors(name):
    return json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))


def reading_of(data, genesis):
    author, seq, time = data[:32], int.from_bytes(data[32:40], "little"), int.from_bytes(data[40:48], "little")
    signed = b"heartchain/reading/1" + genesis + data[:50]
    return {
        "id": verify.sha256(signed).hex(),
        "author": author.hex(),
        "seq": seq,
        "time": time,
        "bpm": int.from_bytes(data[48:50], "little"),
        "signature": data[50:].hex(),
    }


def export_of_vectors():
    """The chain of the vectors as an exported file."""
    given = vectors("blocks")
    room = {
        "name": given["room"]["name"],
        "floorBits": given["room"]["floor_bits"],
        "blockIntervalMs": given["room"]["block_interval_ms"],
    }
    genesis = verify.genesis_of(room)
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
            "readings": [reading_of(body[at:at + 114], genesis) for at in range(0, len(body), 114)],
        })
    return {
        "format": verify.FORMAT,
        "exportedAt": 1_700_000_100_000,
        "room": {**room, "genesis": genesis.hex()},
        "tip": {"index": len(blocks), "hash": blocks[-1]["hash"]},
        "totalWork": given["blocks"][-1]["total_work"],
        "blocks": blocks,
        "waiting": [],
    }


class Vectors(unittest.TestCase):
    def test_rooms(self):
        for room in vectors("rooms")["rooms"]:
            given = {
                "name": room["name"],
                "floorBits": room["floor_bits"],
                "blockIntervalMs": room["block_interval_ms"],
            }
            self.assertEqual(verify.genesis_of(given).hex(), room["genesis_hash"])

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
        for case in given["cases"]:
            reading = reading_of(bytes.fromhex(case["reading"]), genesis)
            try:
                verify.check_reading(reading, genesis, case["name"])
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

    def test_every_change_is_found(self):
        honest = export_of_vectors()
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
    first = "1" if value[:1] == "0" else "0"
    return first + value[1:]


if __name__ == "__main__":
    unittest.main()
