//! The shape of the chart: scales, ticks, and of dense lines what the pixels can show. Never draws and never
//! touches the page.

import { placeAfter } from "./reading-history.js";

/** The least span of the heart-rate axis, so that a calm heart is not drawn as a storm, in BPM. */
const MIN_SPAN_BPM = 40;

/** What an axis of heart rates is divided by, finest first. */
const BPM_STEPS = [10, 20, 50, 100];

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** What an axis of time is divided by, finest first, in ms. */
const TIME_STEPS = [
  10 * SECOND, 30 * SECOND, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR,
  3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 28 * DAY, 91 * DAY, 365 * DAY,
];

/**
 * The points of a line that are in sight, with the neighbour at either side that a line from there needs.
 *
 * @param {import("./reading-history.js").Point[]} points oldest first
 * @param {number} from Unix ms
 * @param {number} to Unix ms
 */
export function inSight(points, from, to) {
  return points.slice(Math.max(0, placeAfter(points, from - 1) - 1), placeAfter(points, to) + 1);
}

/**
 * What a line covers of each column of pixels: drawn side by side, these bars are the line as the pixels can show it, at
 * a price that does not grow with its points. (Strokes of some hundred points that go up and down take browsers that
 * draw without a graphics card a hundred times as long.)
 *
 * @param {{ x: number, y: number }[]} points on the screen, in the order of x
 * @param {number} left where the first column begins, px
 * @param {number} count of columns, one px each
 * @returns {{ x: number, top: number, bottom: number }[]} of each column that the line crosses, from the left
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
 * The axis of heart rates: whole steps around all that is in sight.
 *
 * @param {number[]} bpms empty while there is nothing
 * @param {number} most ticks that fit
 * @returns {{ low: number, high: number, ticks: number[] }}
 */
export function bpmAxis(bpms, most) {
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
    if (count > most && step !== BPM_STEPS.at(-1)) continue;
    return { low: bottom, high: top, ticks: Array.from({ length: count }, (_, i) => bottom + i * step) };
  }
  throw new RangeError("there is always a coarsest step");
}

/**
 * The marks on the axis of time, at whole steps of the clock on the wall.
 *
 * @param {number} from Unix ms
 * @param {number} to Unix ms
 * @param {number} most marks that fit
 * @param {number} offset the wall clock's distance from UTC, ms
 * @returns {{ step: number, times: number[] }}
 */
export function timeTicks(from, to, most, offset) {
  const step = TIME_STEPS.find((step) => (to - from) / step <= most) ?? TIME_STEPS.at(-1);
  const times = [];
  for (let time = Math.ceil((from + offset) / step) * step - offset; time <= to && times.length <= most; time += step) times.push(time);
  return { step, times };
}

/**
 * The point that a pointer means: the nearest on the screen, if any is near.
 *
 * @param {Iterable<[string, import("./reading-history.js").Point[]]>} lines points in sight, by author
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
 * What a line comes to, in numbers.
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
