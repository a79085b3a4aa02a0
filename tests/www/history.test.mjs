//! The history of a room by hours: averages over time, bounds, reorgs, and the order in which authors appeared.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ChainHistory, HOLD_MS, HistoryDisk, HistoryTable, MAX_ORDER, MAX_ROWS, MAX_ROW_AUTHORS, UNSETTLED_BLOCKS, averages, forgetHistory,
  historyDisk, tallyOf,
} from "../../www/history.js";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const points = (...pairs) => pairs.map(([time, bpm]) => ({ time, bpm }));

test("averages_are_weighted_by_time_not_by_rate", () => {
  // An hour of a strap at 150, and readings by hand at 60 every ten minutes for five hours.
  const strap = Array.from({ length: 720 }, (_, i) => [i * 5_000, 150]);
  const byHand = Array.from({ length: 30 }, (_, i) => [HOUR + i * 10 * MINUTE, 60]);
  const { mean, rest, active } = averages(tallyOf(points(...strap, ...byHand)));
  assert.deepEqual([mean, rest, active], [75, 60, 150]);
});

test("rest_and_activity_have_averages_of_their_own", () => {
  assert.deepEqual(averages(tallyOf(points([0, 99], [1000, 100]))), { mean: 100, rest: 99, active: 100 });
  assert.deepEqual(averages(tallyOf(points([0, 72]))), { mean: 72, rest: 72, active: null });
});

test("reading_before_a_long_gap_counts_ten_minutes", () => {
  const { restMs, count, low, high } = tallyOf(points([0, 60], [100 * HOUR, 80]));
  assert.deepEqual([restMs, count, low, high], [2 * HOLD_MS, 2, 60, 80]);
});

test("rows_are_hours_of_each_author", () => {
  const table = new HistoryTable();
  table.add({ author: "a", time: 5 * HOUR, bpm: 60 });
  table.add({ author: "a", time: 5 * HOUR + MINUTE, bpm: 70 });
  table.add({ author: "b", time: 5 * HOUR, bpm: 90 });
  table.add({ author: "a", time: 7 * HOUR, bpm: 120 });
  const rows = table.rows("a");
  assert.deepEqual(rows.map(({ start, span, low, high, count }) => [start, span, low, high, count]), [[5, 1, 60, 70, 2], [7, 1, 120, 120, 1]]);
  assert.deepEqual([rows[0].restMs, rows[0].restSum], [MINUTE + HOLD_MS, 60 * MINUTE + 70 * HOLD_MS]);
  assert.deepEqual([...table.order], ["a", "b"]);
});

test("old_hours_become_days_and_the_rows_are_bounded", () => {
  const table = new HistoryTable();
  for (let hour = 0; hour < MAX_ROWS + 10; hour += 1) table.add({ author: "a", time: hour * HOUR, bpm: 60 + (hour % 24) });
  assert.ok(table.size <= MAX_ROWS, `${table.size} rows`);
  const rows = table.rows("a");
  const days = rows.filter(({ span }) => span === 24);
  assert.ok(days.length > 2_000 && days.every(({ start, low, high, count }) => start % 24 === 0 && low === 60 && high === 83 && count === 24));
  assert.ok(rows.filter(({ span }) => span === 1).length > 92 * 24);
  assert.equal(rows.reduce((sum, { count }) => sum + count, 0), MAX_ROWS + 10, "nothing is dropped while days suffice");
});

test("authors_and_their_order_are_bounded", () => {
  const table = new HistoryTable();
  for (let i = 0; i < MAX_ORDER + 50; i += 1) table.add({ author: `a${i}`, time: i * 1000, bpm: 70 });
  assert.ok([...table.authors].length <= MAX_ROW_AUTHORS);
  assert.equal([...table.order].length, MAX_ORDER);
  assert.equal(table.rows(`a${MAX_ORDER + 49}`).length, 1, "the last one is kept");
});

test("table_survives_its_disk", () => {
  const table = new HistoryTable();
  for (let i = 0; i < 500; i += 1) table.add({ author: `a${i % 3}`, time: i * 7 * MINUTE, bpm: 60 + (i % 80) });
  const records = table.takeUnsaved().map(({ author, record }) => ({ author, ...record }));
  const copy = new HistoryTable();
  copy.restore([...table.order], records);
  for (const author of table.authors) assert.deepEqual(copy.rows(author), table.rows(author));
  assert.deepEqual([copy.size, [...copy.order], copy.last("a1")], [table.size, [...table.order], table.last("a1")]);
  assert.deepEqual(table.takeUnsaved(), [], "it is saved once");
});

/** A chain of one reading per block; `branch` is the height from which another branch is the best one. */
class FakeNode extends EventTarget {
  height;
  branch = Infinity;
  waiting = [];
  reads = 0;
  state = "synced";
  constructor(height) {
    super();
    this.height = height;
  }
  status() {
    return { tip: { index: this.height }, state: this.state };
  }
  pending() {
    return this.waiting;
  }
  async blocks(from, to) {
    this.reads += 1;
    return Array.from({ length: Math.max(0, Math.min(to, this.height) - from + 1) }, (_, i) => this.block(from + i));
  }
  block(index) {
    const hash = (height) => `${height >= this.branch ? "B" : "A"}${height}`;
    const author = index >= this.branch ? "late" : index % 2 ? "odd" : "even";
    return { index, hash: hash(index), prevHash: index === 0 ? "" : hash(index - 1), readings: index === 0 ? [] : [{ author, seq: index, time: index * MINUTE, bpm: 70, id: `${index}` }] };
  }
  grow(by) {
    const from = this.height + 1;
    this.height += by;
    this.dispatchEvent(Object.assign(new Event("chain"), { detail: { from, to: this.height, reorg: false } }));
  }
  fork(branch) {
    this.branch = branch;
    this.dispatchEvent(Object.assign(new Event("chain"), { detail: { from: branch, to: this.height, reorg: true } }));
  }
}

/** A disk in memory. */
class FakeDisk {
  isWriter = true;
  head = null;
  records = new Map();
  becameWriter() {
    return false;
  }
  async load() {
    return this.head === null ? null : structuredClone({ ...this.head, records: [...this.records].map(([author, record]) => ({ author, ...record })) });
  }
  async save(head, changes) {
    this.head = structuredClone(head);
    for (const { author, record } of changes) this.records.set(author, structuredClone(record));
  }
  async clear() {
    this.head = null;
    this.records.clear();
  }
}

const world = { now: () => 0, pause: async () => {} };
const total = (history) => [...history.rows().values()].flat().reduce((sum, { count }) => sum + count, 0);
const settled = () => new Promise((resolve) => setImmediate(resolve));

async function opened(node, disk = null) {
  const history = new ChainHistory(node, disk, world);
  await history.open();
  return history;
}

test("whole_chain_is_counted_once", async () => {
  const node = new FakeNode(1_000);
  const history = await opened(node);
  assert.deepEqual([total(history), history.missing, history.authors()], [1_000, 0, ["odd", "even"]]);
  node.grow(30);
  await settled();
  await history.run();
  assert.equal(total(history), 1_030);
  node.waiting = [{ author: "new", seq: 0, time: 5, bpm: 60, id: "x" }];
  assert.deepEqual([total(history), history.authors()], [1_031, ["odd", "even", "new"]]);
});

test("unreadable_waiting_readings_order_authors_last", async () => {
  const node = new FakeNode(0);
  const timed = Array.from({ length: 5 }, (_, i) => ({ author: `t${i}`, seq: 0, time: 10 + i, bpm: 60, id: `r${9 - i}` }));
  const sealed = Array.from({ length: 5 }, (_, i) => ({ author: `u${i}`, seq: 0, id: `r${i}x` }));
  const expected = [...timed, ...sealed].map(({ author }) => author);
  // Tabs have their waiting readings in any order.
  const all = [...sealed, ...timed];
  for (let turn = 0; turn < all.length; turn += 1) {
    node.waiting = [...all.slice(turn), ...all.slice(0, turn)];
    assert.deepEqual((await opened(node)).authors(), expected, `turn ${turn}`);
    node.waiting = all.filter((_, i) => i % 2 === turn % 2).concat(all.filter((_, i) => i % 2 !== turn % 2));
    assert.deepEqual((await opened(node)).authors(), expected, `interleaved ${turn}`);
  }
});

test("long_chain_leaves_the_page_most_of_the_time", async () => {
  let [clock, paused] = [0, 0];
  const pause = async (ms) => {
    paused += ms;
    clock += ms;
  };
  const history = new ChainHistory(new FakeNode(1_000), null, { now: () => (clock += 1), pause });
  await history.open();
  assert.equal(total(history), 1_000);
  assert.ok(paused > 0.6 * clock, `${paused} of ${clock} ms`);
});

test("blocks_that_leave_the_chain_are_not_counted", async () => {
  const node = new FakeNode(200);
  const history = await opened(node);
  node.fork(190);
  await settled();
  await history.run();
  assert.deepEqual([total(history), history.authors()], [200, ["odd", "even", "late"]]);
});

test("fork_below_the_settled_blocks_starts_over", async () => {
  const disk = new FakeDisk();
  const node = new FakeNode(500);
  const history = await opened(node, disk);
  node.fork(2);
  await settled();
  await history.run();
  assert.deepEqual([total(history), history.authors()], [500, ["odd", "late"]]);
  await history.save({ now: true });
  assert.equal(disk.head.through.hash, `B${500 - UNSETTLED_BLOCKS}`);
});

test("next_start_reads_only_what_is_new", async () => {
  const disk = new FakeDisk();
  await opened(new FakeNode(5_000), disk);
  const node = new FakeNode(5_010);
  const history = await opened(node, disk);
  assert.deepEqual([total(history), history.authors()], [5_010, ["odd", "even"]]);
  assert.ok(node.reads < 30, `${node.reads} reads`);
});

test("history_of_another_chain_is_not_used", async () => {
  const disk = new FakeDisk();
  await opened(new FakeNode(300), disk);
  const node = new FakeNode(300);
  node.branch = 1;
  const history = await opened(node, disk);
  assert.deepEqual([total(history), history.authors()], [300, ["late"]]);
});

test("history_is_kept_while_the_chain_is_being_fetched", async () => {
  const disk = new FakeDisk();
  await opened(new FakeNode(300), disk);
  const node = new FakeNode(10);
  node.state = "syncing";
  const history = await opened(node, disk);
  assert.equal(disk.head.through.index, 300 - UNSETTLED_BLOCKS);
  node.grow(290);
  await settled();
  await history.run();
  assert.equal(total(history), 300);
});

test("blocks_that_come_during_the_load_count_once", async () => {
  const disk = new FakeDisk();
  await opened(new FakeNode(300), disk);
  let loaded;
  disk.load = ((load) => async () => {
    await new Promise((resolve) => (loaded = resolve));
    return load.call(disk);
  })(disk.load);
  const node = new FakeNode(300);
  const history = new ChainHistory(node, disk, world);
  const opening = history.open();
  node.grow(10);
  await settled();
  await history.save({ now: true });
  assert.equal(disk.head.through.index, 300 - UNSETTLED_BLOCKS, "nothing is written over what is being loaded");
  loaded();
  await opening;
  assert.equal(total(history), 310);
});

test("loaded_history_is_announced", async () => {
  const disk = new FakeDisk();
  await opened(new FakeNode(300), disk);
  // The chain has not grown, so that no block is read.
  const history = new ChainHistory(new FakeNode(300 - UNSETTLED_BLOCKS), disk, world);
  let changes = 0;
  history.addEventListener("change", () => (changes += 1));
  await history.open();
  assert.deepEqual([total(history), changes], [300 - UNSETTLED_BLOCKS, 1]);
});

test("rows_that_do_not_change_are_the_same_list", async () => {
  const node = new FakeNode(1_000);
  const history = await opened(node);
  node.waiting = [{ author: "odd", seq: 1_001, time: 1_001 * MINUTE, bpm: 60, id: "x" }];
  node.grow(UNSETTLED_BLOCKS + 1);
  node.branch = 1_000;
  await settled();
  await history.run();
  const [before, after] = [history.rows(), history.rows()];
  assert.equal(after.get("even"), before.get("even"));
  assert.notEqual(after.get("odd"), before.get("odd"), "a waiting reading is added to a copy");

  const table = new HistoryTable();
  table.add({ author: "a", time: 0, bpm: 60 });
  const rows = table.rows("a");
  table.add({ author: "a", time: 1, bpm: 61 });
  assert.notEqual(table.rows("a"), rows, "other contents are another list");
});

let closeDatabase = () => {};

/** As much of IndexedDB as the disk uses. `failing`: the commit of each transaction that writes fails. */
function fakeDatabase() {
  const records = new Map();
  const fake = { records, failing: false };
  const keyOf = ({ genesis, author }) => `${genesis} ${author}`;
  const later = (target, type, result) => {
    Object.assign(target, { result });
    queueMicrotask(() => target[`on${type}`]?.());
    return target;
  };
  const store = (writes) => ({
    getAll: ({ genesis }) => later({}, "success", [...records.values()].filter((record) => record.genesis === genesis)),
    put: (record) => writes.push(() => records.set(keyOf(record), structuredClone(record))),
    delete: (key) =>
      writes.push(() => {
        const gone = Array.isArray(key) ? (record) => keyOf(record) === key.join(" ") : (record) => record.genesis === key.genesis;
        for (const [at, record] of records) if (gone(record)) records.delete(at);
      }),
  });
  const database = {
    transaction() {
      const writes = [];
      const transaction = { error: new Error("the disk is full"), objectStore: () => store(writes) };
      setImmediate(() => {
        if (fake.failing && writes.length > 0) return transaction.onabort?.();
        for (const write of writes) write();
        transaction.oncomplete?.();
      });
      return transaction;
    },
  };
  // The browser closes the database of the test before.
  closeDatabase();
  closeDatabase = () => database.onclose?.();
  globalThis.indexedDB = { open: () => later({}, "success", database) };
  globalThis.IDBKeyRange = { bound: ([genesis]) => ({ genesis }) };
  return fake;
}

test("what_a_full_disk_refused_is_written_again", async () => {
  const fake = fakeDatabase();
  const locks = { request: async (_, hold) => hold() };
  const disk = new HistoryDisk("g", locks);
  const change = (author) => ({ author, record: { last: null, rows: new Float64Array() } });
  await disk.save({ order: ["a"] }, [change("a"), change("b")]);
  assert.ok(disk.becameWriter() && !disk.becameWriter());
  fake.failing = true;
  await disk.save({ order: ["a", "b"] }, [{ author: "b", record: null }]);
  assert.deepEqual(fake.records.get("g ").order, ["a"], "all or nothing");
  assert.ok(disk.becameWriter(), "the next writing is a whole one");
  fake.failing = false;
  await disk.save({ order: ["a", "b"] }, [change("a")], { whole: true });
  assert.deepEqual([...fake.records.keys()].sort(), ["g ", "g a"], "it replaces what was left");
  fake.failing = true;
  await disk.clear();
  assert.ok(disk.becameWriter());
});

/** Web Locks, as far as the history uses them. */
function fakeLocks() {
  const held = new Set();
  return {
    held,
    async request(name, options, work = options) {
      if (options.ifAvailable && held.has(name)) return work(null);
      held.add(name);
      await work({ name });
      held.delete(name);
    },
  };
}

test("deleted_room_leaves_no_history", async () => {
  const fake = fakeDatabase();
  const locks = fakeLocks();
  const save = (disk) => disk.save({ order: [] }, [{ author: "a", record: { last: null, rows: new Float64Array() } }]);
  const [disk, other] = [new HistoryDisk("g", locks), new HistoryDisk("h", locks)];
  await save(disk);
  await save(other);
  await forgetHistory("g", locks);
  assert.equal(fake.records.size, 4, "a tab that has the room open would write a part of it again");

  const history = new ChainHistory(new FakeNode(300), disk, world);
  await history.open();
  history.close();
  await settled();
  assert.deepEqual([disk.isWriter, [...locks.held]], [false, ["heartchain-history h"]]);
  await forgetHistory("g", locks);
  await history.save({ now: true });
  assert.deepEqual([...fake.records.keys()].sort(), ["h ", "h a"]);
});

test("history_closed_before_its_lock_never_writes", async () => {
  let grant;
  const locks = { request: (_, work) => new Promise((resolve) => (grant = () => resolve(work({})))) };
  const disk = new HistoryDisk("g", locks);
  disk.close();
  grant();
  assert.equal(disk.isWriter, false);
});

test("history_of_a_private_room_is_never_on_disk", () => {
  const status = (kind, isPrivate) => ({ genesis: "g", private: isPrivate, storage: { kind } });
  assert.ok(historyDisk(status("disk", false), fakeLocks()) instanceof HistoryDisk);
  assert.equal(historyDisk(status("disk", true), fakeLocks()), null);
  assert.equal(historyDisk(status("memory", false), fakeLocks()), null);
});
