//! The geometry of the chart: scales, ticks, and dense lines reduced to what pixels can show. Never draws and never
//! touches the page.

import { indexAfter } from "./reading-history.js";

/** The smallest span of the heart-rate axis in BPM, so that small changes do not look large. */
const MIN_SPAN_BPM = 40;

/** Steps of the heart-rate axis in BPM, finest first. */
const BPM_STEPS = [10, 20, 50, 100];

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Steps of the time axis in ms, finest first. */
const TIME_STEPS = [
  10 * SECOND, 30 * SECOND, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR,
  3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 28 * DAY, 91 * DAY, 365 * DAY,
];

/**
 * The points of a line in the visible range, plus one neighbour on each side, so that the line reaches the edges.
 *
 * @param {import("./reading-history.js").Point[]} points oldest first
 * @param {number} from Unix ms
 * @param {number} to Unix ms
 */
export function inSight(points, from, to) {
  return points.slice(Math.max(0, indexAfter(points, from - 1) - 1), indexAfter(points, to) + 1);
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
 * The heart-rate axis: whole steps that include all visible values.
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
  for (const step of BPM_STEPS) {
    const bottom = Math.floor(low / step) * step;
    const top = Math.ceil(high / step) * step;
    const count = (top - bottom) / step + 1;
    if (count > maxTicks && step !== BPM_STEPS.at(-1)) continue;
    return { low: bottom, high: top, ticks: Array.from({ length: count }, (_, i) => bottom + i * step) };
  }
  throw new RangeError("there is always a coarsest step");
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
 * @param {Iterable<[string, import("./reading-history.js").Point[]]>} lines visible points, by author
 * @param {{ x: (time: number) => number, y: (bpm: number) => number }} scale
 * @param {{ x: number, y: number }} pointer
 * @param {number} reach px
 * @returns {{ author: string, point: import("./reading-history.js").Point } | null}
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

/**
 * Summarizes the points of a line.
 *
 * @param {import("./reading-history.js").Point[]} points at least one, oldest first
 */
export function summary(points) {
  let lowest = Infinity;
  let highest = -Infinity;
  let sum = 0;
  for (const { bpm } of points) {
    lowest = Math.min(lowest, bpm);
    highest = Math.max(highest, bpm);
    sum += bpm;
  }
  return { count: points.length, latest: points.at(-1).bpm, lowest, highest, mean: Math.round(sum / points.length) };
}
