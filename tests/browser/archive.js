//! Export and import between nodes that share nothing but a room's name.

import { check, equal, heard, rejection } from "./check.js";
import { diligent } from "./mining.js";

const NO_RELAY = `data:application/json,{"addresses":[]}`;

/** A node of this room with so many readings, each in a block of its own. */
async function recorded(lone, room, mine, bpms) {
  const { node, end } = await diligent(lone, room, mine);
  for (const bpm of bpms) {
    const changed = heard(node, "chain");
    await node.record(bpm);
    await changed;
  }
  return { node, end };
}

export async function exportsWhatCanBeVerified(lone, mine) {
  const { node, end } = await recorded(lone, 'a "room", with\nodd <name>', mine, [70, 71, 72]);
  const blob = await node.exportJson();
  check(blob instanceof Blob && blob.type === "application/json", "a file of JSON");
  const text = await blob.text();
  const file = JSON.parse(text);
  equal(
    Object.keys(file),
    ["format", "exportedAt", "room", "tip", "totalWork", "blocks", "waiting"],
    "the fields of an export",
  );
  const status = node.status();
  equal(
    [file.format, file.room, file.tip, file.totalWork],
    [
      "heartchain/export/1",
      { name: status.room, floorBits: 16, blockIntervalMs: 1000, genesis: status.genesis },
      status.tip,
      status.totalWork,
    ],
    "the head of an export",
  );
  equal(file.blocks, await node.blocks(1, 3), "the blocks as the getter gives them");
  equal(file.waiting, [], "nothing waits");
  for (const block of file.blocks) check(text.includes(`\n${JSON.stringify(block)}`), "a line for each block");

  const csv = await node.exportCsv();
  equal(csv.type, "text/csv", "a file of CSV");
  const [head, ...rows] = (await csv.text()).trimEnd().split("\r\n");
  equal(head, "recorded,bpm,author,seq,block,block_time,id", "its head");
  const iso = (time) => new Date(time).toISOString();
  const expected = file.blocks.flatMap(({ index, time, readings }) =>
    readings.map((r) => [iso(r.time), r.bpm, r.author, r.seq, index, iso(time), r.id].join(",")),
  );
  equal(rows, expected, "its rows");
  end();

  const waiting = await lone.constructor.start({ room: "only waiting", relayDocument: NO_RELAY, storage: "memory" });
  await waiting.record(80);
  await waiting.record(81);
  const second = JSON.parse(await (await waiting.exportJson()).text());
  equal([second.blocks, second.waiting], [[], waiting.pending()], "what waits is in it");
  const [row] = (await (await waiting.exportCsv()).text()).split("\r\n").slice(2);
  const [{ time, author, id }] = waiting.pending().slice(1);
  equal(row, `${iso(time)},81,${author},1,,,${id}`, "the row of a reading that waits");
  waiting.stop();
}

export async function importsWhatAnotherExported(lone, mine) {
  const room = "exchange";
  const { node, end } = await recorded(lone, room, mine, [70, 71, 72]);
  const text = await (await node.exportJson()).text();
  const tip = node.status().tip;
  end();

  const other = await lone.constructor.start({ room, relayDocument: NO_RELAY, storage: "memory" });
  await other.record(99);
  const changed = heard(other, "chain", ({ to }) => to === 3);
  equal(
    await other.importJson(text),
    { blocks: 3, newBlocks: 3, readings: 3, newReadings: 3 },
    "all of it is new",
  );
  await changed;
  equal(other.status().tip, tip, "the same tip");
  equal(other.pending().map(({ bpm }) => bpm), [99], "what waited here waits");
  equal((await other.blocks(1, 3)).length, 3, "the blocks can be read");
  const again = { blocks: 3, newBlocks: 0, readings: 3, newReadings: 0 };
  equal(await other.importJson(text), again, "nothing of it is new");
  equal(await other.importJson(JSON.stringify(JSON.parse(text), null, 2)), again, "however it is laid out");

  const third = await lone.constructor.start({ room, relayDocument: NO_RELAY, storage: "memory" });
  equal(
    await third.importJson(await (await other.exportJson()).text()),
    { blocks: 3, newBlocks: 3, readings: 4, newReadings: 4 },
    "what waits is taken along",
  );
  equal(third.pending().map(({ bpm }) => bpm), [99], "and waits there");
  third.stop();
  other.stop();
}

export async function refusesFilesInWords(lone, mine) {
  const room = "refusals";
  const { node, end } = await recorded(lone, room, mine, [70, 71]);
  const text = await (await node.exportJson()).text();
  end();
  const other = await lone.constructor.start({ room, relayDocument: NO_RELAY, storage: "memory" });
  const refused = async (file, words) => {
    const { message } = await rejection(other.importJson(file), `importJson(${String(file).slice(0, 60)})`);
    check(words.test(message), `${words} in: ${message}`);
  };
  const tampered = (change) => {
    const file = JSON.parse(text);
    change(file);
    return JSON.stringify(file);
  };
  for (const file of [undefined, null, 7, {}, new Blob([text])]) await refused(file, /string/);
  for (const file of ["", "x", "[]", "null", "7", "{}", text.slice(0, -10)]) await refused(file, /no file/);
  const tooLong = await rejection(other.importJson(" ".repeat(256_000_001)), "a file that is too long");
  check(/256000001 .* 70,000 blocks: .* over the network/.test(tooLong.message), `what to do instead: ${tooLong.message}`);
  await refused(tampered((file) => (file.format = "heartchain/export/2")), /format/);
  await refused(tampered((file) => delete file.blocks), /no file/);
  await refused(tampered((file) => (file.blocks = [7])), /block number 1/);
  await refused(tampered(({ blocks }) => (blocks[0].hash = blocks[1].hash)), /block number 1 .* altered/);
  await refused(tampered(({ blocks }) => (blocks[0].readings[0].bpm = 180)), /block number 1 .* altered/);
  await refused(tampered(({ blocks }) => blocks.shift()), /block 2 .*not known/);
  equal(other.status().tip.index, 0, "nothing of any of them was taken");
  await refused(tampered(({ blocks }) => (blocks[1].readings = [])), /block 2 /);
  equal(other.status().tip.index, 1, "the block before the bad one was good");
  other.stop();

  const elsewhere = await lone.constructor.start({ room: "elsewhere", relayDocument: NO_RELAY, storage: "memory" });
  const { message } = await rejection(elsewhere.importJson(text), "a file of another room");
  check(message.includes('"refusals"') && message.includes('"elsewhere"'), `both rooms are named: ${message}`);
  elsewhere.stop();
}
