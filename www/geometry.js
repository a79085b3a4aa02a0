//! Shapes and positions: of the chart, the network picture, the list of blocks and the QR code. Pure: draws nothing.

import { indexAfter } from "./model.js";

// The geometry of the chart: scales, ticks, and dense lines reduced to what pixels can show. Never draws and never
// touches the page.

/** The smallest span of the heart-rate axis in BPM, so that small changes do not look large. */
const MIN_SPAN_BPM = 40;

/** The heart-rate axis ends at multiples of this, in BPM. */
const BPM_EDGE = 10;

/** Steps of the heart-rate axis in BPM, finest first. */
const BPM_STEPS = [10, 20, 25, 50, 100];

/** A line is broken where its author's readings stop for longer than this many of their usual intervals, */
const GAP_INTERVALS = 3;
/** but not for shorter than this, ms. */
export const MIN_GAP_MS = 30_000;

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Steps of the time axis in ms, finest first. */
const TIME_STEPS = [
  10 * SECOND, 30 * SECOND, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR,
  3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 3 * DAY, 7 * DAY, 14 * DAY, 28 * DAY, 91 * DAY, 182 * DAY, 365 * DAY,
];

/**
 * The points of a line in the visible range, plus one neighbour on each side, so that the line reaches the edges.
 *
 * @param {import("./model.js").Point[]} points oldest first
 * @param {number} from Unix ms
 * @param {number} to Unix ms
 */
export function inSight(points, from, to) {
  return points.slice(Math.max(0, indexAfter(points, from - 1) - 1), indexAfter(points, to) + 1);
}

/** Below this range, ms, a chart by hour would have too few hours. */
const LEAST_BY_HOUR_MS = 6 * 3_600_000;

/** With more readings for each px of the chart's width, lines become one surface. */
const MAX_READINGS_A_PX = 8;

/**
 * Whether a range has so many readings that hours say more than lines.
 *
 * @param {number} count readings in the range
 * @param {number} width of the chart, px
 * @param {number} range ms
 */
export function isCrowded(count, width, range) {
  return range >= LEAST_BY_HOUR_MS && count > MAX_READINGS_A_PX * width;
}

/**
 * The longest pause that does not break a line: three of the author's usual intervals.
 *
 * @param {{ time: number }[]} points oldest first
 * @param {number} [least] ms
 */
export function longestPause(points, least = MIN_GAP_MS) {
  return Math.max(least, GAP_INTERVALS * usualPause(points));
}

/**
 * The author's usual interval: the median, so that a night without readings does not count.
 *
 * @param {{ time: number }[]} points oldest first
 * @returns {number} ms; 0 for fewer than two points
 */
export function usualPause(points) {
  const pauses = Float64Array.from({ length: Math.max(0, points.length - 1) }, (_, i) => points[i + 1].time - points[i].time).sort();
  return pauses[pauses.length >> 1] ?? 0;
}

/**
 * Splits a line where nothing was measured, so that it shows no values that do not exist.
 *
 * @template {{ time: number }} T
 * @param {T[]} points oldest first
 * @param {number} pause the longest pause within a run, ms
 * @returns {T[][]} runs of at least one point
 */
export function runs(points, pause) {
  const found = [];
  points.forEach((point, i) => {
    if (i > 0 && point.time - points[i - 1].time <= pause) found.at(-1).push(point);
    else found.push([point]);
  });
  return found;
}

/**
 * The part of each pixel column that a line covers. Drawn side by side, these bars look like the line, and their cost
 * does not grow with the number of points. (Without a graphics card, stroking some hundred points that go up and down
 * takes browsers a hundred times as long.)
 *
 * @param {{ x: number, y: number }[]} points on the screen, in the order of x
 * @param {number} left the left edge of the first column, px
 * @param {number} count of columns, one px each
 * @returns {{ x: number, top: number, bottom: number }[]} one bar per column that the line crosses, from the left
 */
export function bars(points, left, count) {
  const top = new Float64Array(count).fill(Infinity);
  const bottom = new Float64Array(count).fill(-Infinity);
  const cover = (column, y) => {
    top[column] = Math.min(top[column], y);
    bottom[column] = Math.max(bottom[column], y);
  };
  points.forEach((end, i) => {
    const start = points[i - 1] ?? end;
    const slope = end.x > start.x ? (end.y - start.y) / (end.x - start.x) : 0;
    const first = Math.max(0, Math.floor(start.x - left));
    const last = Math.min(count - 1, Math.floor(end.x - left));
    for (let column = first; column <= last; column += 1) {
      const at = (x) => start.y + slope * (Math.min(Math.max(x, start.x), end.x) - start.x);
      cover(column, at(left + column));
      cover(column, column === last && end.x < left + count ? end.y : at(left + column + 1));
    }
  });
  return Array.from(top, (y, column) => ({ x: left + column, top: y, bottom: bottom[column] })).filter(({ top }) => top < Infinity);
}

/**
 * The heart-rate axis: it fits the visible values, with ticks at whole steps.
 *
 * @param {number[]} bpms may be empty
 * @param {number} maxTicks how many ticks fit
 * @returns {{ low: number, high: number, ticks: number[] }}
 */
export function bpmAxis(bpms, maxTicks) {
  let low = bpms.length === 0 ? 60 : Math.min(...bpms);
  let high = bpms.length === 0 ? 100 : Math.max(...bpms);
  const missing = MIN_SPAN_BPM - (high - low);
  if (missing > 0) {
    low -= missing / 2;
    high += missing / 2;
  }
  low = Math.max(0, Math.floor(low / BPM_EDGE) * BPM_EDGE);
  high = Math.ceil(high / BPM_EDGE) * BPM_EDGE;
  const ticksOf = (step) => {
    const first = Math.ceil(low / step) * step;
    return Array.from({ length: Math.max(0, Math.floor((high - first) / step) + 1) }, (_, i) => first + i * step);
  };
  const step = BPM_STEPS.find((step) => ticksOf(step).length <= maxTicks) ?? BPM_STEPS.at(-1);
  return { low, high, ticks: ticksOf(step) };
}

/**
 * The ticks of the time axis, at whole steps of local time.
 *
 * @param {number} from Unix ms
 * @param {number} to Unix ms
 * @param {number} maxTicks how many ticks fit
 * @param {number} offset offset of local time from UTC, ms
 * @returns {{ step: number, times: number[] }}
 */
export function timeTicks(from, to, maxTicks, offset) {
  const step = TIME_STEPS.find((step) => (to - from) / step <= maxTicks) ?? TIME_STEPS.at(-1);
  const times = [];
  for (let time = Math.ceil((from + offset) / step) * step - offset; time <= to && times.length <= maxTicks; time += step) times.push(time);
  return { step, times };
}

/**
 * The point closest to the pointer on the screen, if one is within reach.
 *
 * @param {Iterable<[string, import("./model.js").Point[]]>} lines visible points, by author
 * @param {{ x: (time: number) => number, y: (bpm: number) => number }} scale
 * @param {{ x: number, y: number }} pointer
 * @param {number} reach px
 * @returns {{ author: string, point: import("./model.js").Point } | null}
 */
export function nearest(lines, { x, y }, pointer, reach) {
  let found = null;
  let best = reach * reach;
  for (const [author, points] of lines) {
    for (const point of points) {
      const dx = x(point.time) - pointer.x;
      if (Math.abs(dx) > reach) continue;
      const dy = y(point.bpm) - pointer.y;
      const distance = dx * dx + dy * dy;
      if (distance > best) continue;
      best = distance;
      found = { author, point };
    }
  }
  return found;
}

// Computes the layout of the network picture: this tab in the middle, relays above it, peers around it, and relayed
// peers near the relay. Never draws and never touches the page.

/** The size of the picture, in SVG user units. */
export const PICTURE = { width: 360, height: 256 };

/** The most peers drawn; the table lists all. */
export const MAX_DRAWN_PEERS = 24;

/** From this many peers on, the layout uses two rings. */
const TWO_RINGS_FROM = 13;

/** The most relays drawn. */
export const MAX_DRAWN_RELAYS = 3;

const CENTRE = { x: 180, y: 136 };
const RINGS = [
  { x: 148, y: 90 },
  { x: 100, y: 58 },
];
const RELAY_Y = 26;
/** The distance between two relays. */
const RELAY_STEP = 92;
/** The sector of the circle reserved for relays, in radians. */
const RELAY_SECTOR = (84 / 180) * Math.PI;

/**
 * @typedef {{ id: string, x: number, y: number }} Position
 * @typedef {{ id: string, kind: "direct" | "relayed" | "relay", path: string }} Link
 */

/**
 * @param {object[]} peers as returned by the node's `peers()`, with or without relays
 * @param {object[]} relays as in the node's `status()`
 * @returns {{ self: { x: number, y: number }, relays: (Position & { connected: boolean })[],
 *   peers: (Position & { path: string })[], links: Link[], hidden: number }}
 */
export function layoutNetwork(peers, relays) {
  const placedRelays = placeRelays(relays);
  const others = peers.filter((peer) => peer.path !== "relay").toSorted(comparePeerIds);
  const relayed = others.filter((peer) => peer.path === "relayed");
  const direct = others.filter((peer) => peer.path === "direct");
  // Relayed peers go to both ends of the arc, close to the relay.
  const half = Math.ceil(relayed.length / 2);
  const inOrder = [...relayed.slice(0, half), ...direct, ...relayed.slice(half)];
  const drawn = inOrder.length <= MAX_DRAWN_PEERS ? inOrder : inOrder.slice(0, MAX_DRAWN_PEERS);
  const placedPeers = drawn.map((peer, i) => ({ id: peer.peerId, path: peer.path, ...onArc(i, drawn.length) }));
  const via = placedRelays.find((relay) => relay.connected) ?? placedRelays[0] ?? { x: CENTRE.x, y: RELAY_Y };
  const links = [
    ...placedRelays.filter((relay) => relay.connected).map((relay) => link("relay", relay, straight(CENTRE, relay))),
    ...placedPeers.map((peer) =>
      peer.path === "direct"
        ? link("direct", peer, straight(CENTRE, peer))
        : link("relayed", peer, bent(CENTRE, via, peer)),
    ),
  ];
  return { self: CENTRE, relays: placedRelays, peers: placedPeers, links, hidden: inOrder.length - drawn.length };
}

/** One position per relay, even if several of its addresses are known. */
function placeRelays(relays) {
  const byId = new Map();
  for (const { peerId, address, connected } of relays) {
    const id = peerId ?? address;
    byId.set(id, (byId.get(id) ?? false) || connected);
  }
  const all = [...byId].map(([id, connected]) => ({ id, connected })).sort((a, b) => (a.id < b.id ? -1 : 1));
  const drawn = all.slice(0, MAX_DRAWN_RELAYS);
  const left = CENTRE.x - ((drawn.length - 1) * RELAY_STEP) / 2;
  return drawn.map((relay, i) => ({ ...relay, x: left + i * RELAY_STEP, y: RELAY_Y }));
}

function onArc(i, count) {
  const ring = RINGS[count < TWO_RINGS_FROM ? 0 : i % 2];
  const arc = 2 * Math.PI - RELAY_SECTOR;
  // A single peer goes below, next to the name of this tab. Several spread over the whole arc, clockwise from the right
  // of the relays.
  const share = count === 1 ? 0.36 : count === 2 ? 0.3 + 0.4 * i : i / (count - 1);
  const angle = -Math.PI / 2 + RELAY_SECTOR / 2 + share * arc;
  return { x: round(CENTRE.x + ring.x * Math.cos(angle)), y: round(CENTRE.y + ring.y * Math.sin(angle)) };
}

/** About how wide a letter of a name is, px: of most scripts, and of those with square letters. */
const LETTER_PX = 6.4;
const SQUARE_PX = 11;

/** Letters of Chinese, Japanese and Korean, and emoji. */
const SQUARE = /[\u{1100}-\u{11FF}\u{2E80}-\u{D7FF}\u{F900}-\u{FAFF}\u{FF00}-\u{FFEF}\u{1F000}-\u{3FFFF}]/u;

/**
 * How far a name is moved from the middle of its node, so that it does not leave the picture.
 *
 * @param {number} x of the node
 * @param {string} name
 * @returns {number} px
 */
export function labelShift(x, name) {
  const half = [...name].reduce((width, letter) => width + (SQUARE.test(letter) ? SQUARE_PX : LETTER_PX), 0) / 2;
  if (2 * half >= PICTURE.width) return PICTURE.width / 2 - x;
  return Math.max(half - x, 0) + Math.min(PICTURE.width - half - x, 0);
}

function link(kind, { id }, path) {
  return { id: `${kind} ${id}`, kind, path };
}

function straight(a, b) {
  return `M${a.x} ${a.y}L${b.x} ${b.y}`;
}

function bent(a, via, b) {
  return `M${a.x} ${a.y}Q${via.x} ${via.y} ${b.x} ${b.y}`;
}

function round(value) {
  return Math.round(value * 10) / 10;
}

function comparePeerIds(a, b) {
  return a.peerId < b.peerId ? -1 : 1;
}

// Maps between scroll positions and rows of a very long virtual list with rows of equal height. Never touches the
// page.

/**
 * The tallest content that every browser scrolls exactly (Firefox stops at 17.8 million), in CSS px. Longer lists
 * scroll faster than the wheel turns, so that their end stays reachable.
 */
export const MAX_SCROLL_PX = 12_000_000;

/** Extra rows drawn beyond each edge, so that scrolling does not reveal gaps. */
export const OVERSCAN_ROWS = 2;

/**
 * @typedef {object} Box
 * @property {number} count total number of rows
 * @property {number} row height of a row, px
 * @property {number} viewport height of the box, px
 */

/** @param {Box} box @returns {number} the height of the scrolled content, px */
export function contentHeight({ count, row }) {
  return Math.min(count * row, MAX_SCROLL_PX);
}

/**
 * The rows to draw, and the shift to add to a row's unscaled position (row height times index) within the content.
 *
 * @param {Box} box
 * @param {number} scrollTop
 * @returns {{ first: number, last: number, shift: number }} `last` is less than `first` if there is nothing to draw
 */
export function rowsInView(box, scrollTop) {
  const top = offsetOf(box, scrollTop);
  const first = Math.max(0, Math.floor(top / box.row) - OVERSCAN_ROWS);
  const last = Math.min(box.count - 1, Math.floor((top + box.viewport) / box.row) + OVERSCAN_ROWS);
  return { first, last, shift: clampTop(box, scrollTop) - top };
}

/** @param {Box} box @param {number} scrollTop @returns {number} the matching position in the unscaled list, px */
export function offsetOf(box, scrollTop) {
  const top = clampTop(box, scrollTop);
  return top * stretch(box);
}

/**
 * @param {Box} box
 * @param {number} offset in the unscaled list, px
 * @returns {number} the `scrollTop` that shows it at the top
 */
export function scrollTopOf(box, offset) {
  return clampTop(box, offset / stretch(box));
}

function clampTop(box, scrollTop) {
  return Math.min(Math.max(0, scrollTop), Math.max(0, contentHeight(box) - box.viewport));
}

function stretch(box) {
  const range = contentHeight(box) - box.viewport;
  return range <= 0 ? 1 : (box.count * box.row - box.viewport) / range;
}

// Draws the dark modules of a QR code as an SVG path. Encodes nothing: the modules come from the wasm package.

/** The width of the quiet zone that scanners need around a code, in modules. */
export const QUIET_MODULES = 4;

/**
 * @param {Uint8Array} modules row by row, 1 for dark
 * @returns {{ size: number, path: string }} the side of the picture in modules, quiet zone included
 */
export function qrPath(modules) {
  const side = Math.sqrt(modules.length);
  if (!Number.isInteger(side)) throw new RangeError(`${modules.length} modules are not a square`);
  let path = "";
  for (let y = 0; y < side; y += 1) {
    let x = 0;
    while (x < side) {
      const start = x;
      while (x < side && modules[y * side + x] === 1) x += 1;
      if (x > start) path += `M${start + QUIET_MODULES} ${y + QUIET_MODULES}h${x - start}v1h${start - x}z`;
      x += 1;
    }
  }
  return { size: side + 2 * QUIET_MODULES, path };
}
