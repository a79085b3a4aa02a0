//! The chart of heart rates: its canvas, its legend, its cursor and its table.

import { LocalizedElement, element, reconcile, setText } from "../dom.js";
import { bars, bpmAxis, inSight, nearest, summary, timeTicks } from "../geometry.js";
import { hueOf, peerIdOf, shadeOf, shortName } from "../messages.js";
import { formatNumber, formatTime, formatter, say } from "../strings.js";
import { colour, nameTag } from "./chain.js";

// Draws the chart on a canvas, in the page's colours. Does not decide what is in view.

/** Dash patterns that distinguish lines of similar colour; the first is a solid line. */
const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3]];

/** Cached colours: more than there are hues and shades. */
const MAX_CACHED = 1_024;
const cache = new Map();
/** A canvas of one pixel, for converting colours. */
let sample = null;

/**
 * The colours of a chart.
 *
 * @param {(name: string) => string} token returns a design token of the page
 */
export function coloursOf(token) {
  return {
    line: token("--line"),
    label: token("--ink-quiet"),
    lightness: [0, 1].map((shade) => Number(token("--dot-lightness")) + shade * Number(token("--dot-shade"))),
    chroma: token("--dot-chroma"),
    forced: token("--series"),
  };
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {{ width: number, height: number, em: number, colours: object, font: string, area: { left: number, right: number, top: number, bottom: number },
 *   y: (bpm: number) => number, bpmTicks: { bpm: number, label: string }[], timeTicks: { x: number, label: string }[],
 *   lines: { hue: number, shade: 0 | 1, index: number, own: boolean, faint: boolean, sparse: boolean, points: { x: number, y: number }[],
 *     bars: { x: number, top: number, bottom: number }[] }[] }} chart
 */
export function drawChart(canvas, chart) {
  const { width, height } = chart;
  const ratio = devicePixelRatio;
  const [pixelWidth, pixelHeight] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== pixelWidth || canvas.height !== pixelHeight) {
    canvas.width = pixelWidth;
    canvas.height = pixelHeight;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  if (chart.lines.length > 0) drawAxes(pen, chart);
  pen.save();
  pen.beginPath();
  pen.rect(chart.area.left, 0, chart.area.right - chart.area.left + 6 * chart.em, height);
  pen.clip();
  // This tab's own line is drawn last, on top.
  const inOrder = chart.lines.toSorted((a, b) => Number(a.own) - Number(b.own));
  for (const line of inOrder) drawLine(pen, chart, line);
  pen.restore();
}

function drawAxes(pen, { area, em, y, bpmTicks, timeTicks, colours, font }) {
  pen.lineWidth = 1;
  pen.strokeStyle = colours.line;
  pen.fillStyle = colours.label;
  pen.font = `${12 * em}px ${font}`;
  pen.textBaseline = "middle";
  pen.textAlign = "end";
  for (const { bpm, label } of bpmTicks) {
    const tickY = Math.round(y(bpm)) + 0.5;
    pen.beginPath();
    pen.moveTo(area.left, tickY);
    pen.lineTo(area.right, tickY);
    pen.stroke();
    pen.fillText(label, area.left - 8 * em, tickY);
  }
  pen.textBaseline = "alphabetic";
  pen.textAlign = "center";
  for (const { x, label } of timeTicks) {
    const half = pen.measureText(label).width / 2;
    if (x - half < 0 || x + half > area.right + 14 * em) continue;
    pen.fillText(label, x, area.bottom + 19 * em);
  }
}

function drawLine(pen, { em, colours }, { hue, shade, index, own, faint, sparse, points, bars }) {
  const { forced } = colours;
  const colour = forced || toRgb(`oklch(${colours.lightness[shade]} ${colours.chroma} ${hue})`);
  pen.globalAlpha = faint ? 0.18 : 1;
  pen.strokeStyle = colour;
  pen.fillStyle = colour;
  pen.lineWidth = (own ? 2.75 : 1.75) * em;
  pen.lineJoin = sparse ? "round" : "bevel";
  // Dashes are noise where readings are dense, except in forced colours, where only dashes distinguish the lines.
  const dash = own || !(sparse || forced) ? [] : DASHES[index % DASHES.length];
  pen.setLineDash(dash.map((length) => length * em));
  pen.beginPath();
  for (const { x, y } of points) pen.lineTo(x, y);
  pen.stroke();
  pen.setLineDash([]);
  const half = pen.lineWidth / 2;
  for (const { x, top, bottom } of bars) pen.fillRect(x, top - half, 1, bottom - top + 2 * half);
  const dots = sparse ? points : points.slice(-1);
  for (const { x, y } of dots) {
    pen.beginPath();
    pen.arc(x, y, (own ? 4 : 3) * em, 0, 2 * Math.PI);
    pen.fill();
  }
  pen.globalAlpha = 1;
}

/**
 * Converts a colour to 8-bit RGB. Many small strokes and bars are drawn more than ten times as fast in RGB.
 *
 * @param {string} colour a CSS colour
 */
function toRgb(colour) {
  let found = cache.get(colour);
  if (found === undefined) {
    if (cache.size >= MAX_CACHED) cache.clear();
    sample ??= Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
    sample.fillStyle = colour;
    sample.fillRect(0, 0, 1, 1);
    const [red, green, blue] = sample.getImageData(0, 0, 1, 1).data;
    found = `rgb(${red} ${green} ${blue})`;
    cache.set(colour, found);
  }
  return found;
}

// Heart rates over time, one line per author, on a canvas. Values can be read by pointer, by keyboard and as a table.
// Fetches nothing: it dispatches "past-requested" and draws the history it was given.

/** The most lines drawn, of the most recent authors: more colours could not be distinguished. */
const MAX_LINES = 16;

/** How often the time window moves without new data, in ms; the second value is for users who prefer reduced motion. */
const TICK_MS = 1_000;
const REDUCED_TICK_MS = 10_000;

/** Media queries that change the page's colours. */
const COLOUR_QUERIES = ["(prefers-color-scheme: dark)", "(forced-colors: active)"];

/** The longest distance from the pointer to a reading that it selects, px. */
const REACH_PX = 32;

/** A line with readings closer together than this is drawn column by column, px. */
const DENSE_PX = 5;

/** The margins around the plot area, px at a text size of 16 px. */
const MARGIN = { left: 40, right: 14, top: 12, bottom: 26 };

const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

/**
 * Properties: `history`, a `ReadingHistory`, and `self`. Dispatches "past-requested" with `{ since }`; call
 * `refresh()`.
 */
export class HeartChart extends LocalizedElement {
  #history = null;
  #self = null;
  #timer = null;
  /** The selected reading. */
  #chosen = null;
  /** What was last drawn. */
  #shown = { lines: new Map(), scale: null, from: 0, to: 0 };
  #highlighted = null;
  /** The size in px, the text size relative to 16 px, the colours and the font; null while invisible. */
  #look = null;

  set history(history) {
    this.#history = history;
    this.#askForPast();
    this.invalidate();
  }

  set self(self) {
    if (self === this.#self) return;
    this.#self = self;
    this.invalidate();
  }

  connectedCallback() {
    super.connectedCallback();
    for (const choice of this.#ranges) {
      choice.onchange = () => {
        this.#chosen = null;
        this.#askForPast();
        this.render();
      };
    }
    const frame = this.#frame;
    frame.onpointermove = (event) => this.#point(event);
    frame.onpointerdown = (event) => this.#point(event);
    frame.onpointerleave = (event) => {
      if (event.pointerType === "mouse") this.#choose(null);
    };
    this.#cursor.onkeydown = (event) => this.#onKey(event);
    this.#cursor.onblur = () => this.#choose(null);
    const look = () => {
      this.#measure();
      this.render();
    };
    new ResizeObserver(look).observe(frame);
    for (const query of COLOUR_QUERIES) matchMedia(query).addEventListener("change", look);
    this.querySelector("details").ontoggle = () => this.render();
    this.#tick();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearTimeout(this.#timer);
  }

  languageChanged() {
    this.querySelector(".chart-legend").replaceChildren();
    this.querySelector("tbody").replaceChildren();
    this.#cursor.removeAttribute("aria-valuetext");
  }

  /** Redraws the history. */
  refresh() {
    this.invalidate();
  }

  render() {
    if (this.#history === null) return;
    const to = Date.now();
    const from = this.#from(to);
    const lines = this.#linesInRange(from, to);
    this.#draw(lines, from, to);
    this.#describe(lines);
    this.#showLegend(lines);
    this.#showLimits(from, lines);
    if (this.querySelector("details").open) this.#showTable(lines);
    this.#showReadout();
  }

  get #frame() {
    return this.querySelector(".chart-frame");
  }

  get #cursor() {
    return this.querySelector(".chart-cursor");
  }

  get #ranges() {
    return this.querySelectorAll("input[name=chart-range]");
  }

  get #range() {
    return Number(this.querySelector("input[name=chart-range]:checked").value);
  }

  #from(to) {
    const range = this.#range;
    if (range > 0) return to - range;
    return Math.min(this.#history.oldest ?? to, to - 60_000);
  }

  /** Measures on change, not on demand: reading the layout in between would force a reflow. */
  #measure() {
    const { clientWidth: width, clientHeight: height } = this.#frame;
    const style = getComputedStyle(this.querySelector("canvas"));
    const em = Number.parseFloat(style.fontSize) / 16;
    const token = (name) => style.getPropertyValue(name).trim();
    this.#look = width === 0 ? null : { width, height, em, colours: coloursOf(token), font: style.fontFamily };
  }

  #tick() {
    this.#timer = setTimeout(() => {
      if (document.visibilityState === "visible") this.render();
      this.#tick();
    }, reducedMotion.matches ? REDUCED_TICK_MS : TICK_MS);
  }

  #askForPast() {
    const since = this.#range > 0 ? Date.now() - this.#range : 0;
    this.dispatchEvent(new CustomEvent("past-requested", { detail: { since } }));
  }

  /** The lines of the most recent authors in the current range. */
  #linesInRange(from, to) {
    const lines = [];
    for (const [author, points] of this.#history.authors) {
      const seen = inSight(points, from, to);
      if (seen.some(({ time }) => time >= from && time <= to)) lines.push([author, seen]);
    }
    lines.sort(([, a], [, b]) => b.at(-1).time - a.at(-1).time);
    const drawn = lines.slice(0, MAX_LINES);
    // Sorted by author, so that the legend does not reorder with each reading.
    drawn.sort(([a], [b]) => (a < b ? -1 : 1));
    return new Map(drawn);
  }

  #draw(lines, from, to) {
    if (this.#look === null) return;
    const { width, height, em } = this.#look;
    const area = {
      left: MARGIN.left * em,
      right: width - MARGIN.right * em,
      top: MARGIN.top * em,
      bottom: height - MARGIN.bottom * em,
    };
    const bpms = [...lines.values()].flatMap((points) => {
      const { lowest, highest } = summary(points);
      return [lowest, highest];
    });
    const axis = bpmAxis(bpms, Math.max(3, Math.floor((area.bottom - area.top) / (32 * em))));
    const x = (time) => area.left + ((time - from) / (to - from)) * (area.right - area.left);
    const y = (bpm) => area.bottom - ((bpm - axis.low) / (axis.high - axis.low)) * (area.bottom - area.top);
    const offset = -new Date(to).getTimezoneOffset() * 60_000;
    const ticks = timeTicks(from, to, Math.max(2, Math.floor((area.right - area.left) / (76 * em))), offset);
    const label = timeLabel(ticks.step);
    this.#shown = { lines, scale: { x, y }, from, to };
    drawChart(this.querySelector("canvas"), {
      ...this.#look,
      area,
      y,
      bpmTicks: axis.ticks.map((bpm) => ({ bpm, label: formatNumber(bpm) })),
      timeTicks: ticks.times.map((time) => ({ x: x(time), label: label.format(time) })),
      lines: [...lines].map(([author, points], index) => {
        const peerId = peerIdOf(author);
        return {
          hue: hueOf(peerId),
          shade: shadeOf(peerId),
          index,
          own: peerId === this.#self,
          faint: this.#highlighted !== null && this.#highlighted !== author,
          sparse: points.length < (area.right - area.left) / (14 * em),
          ...shapeOf(points.map(({ time, bpm }) => ({ x: x(time), y: y(bpm) })), area),
        };
      }),
    });
  }

  /** Describes the chart in a sentence. */
  #describe(lines) {
    const count = [...lines.values()].reduce((sum, points) => sum + points.length, 0);
    const text = count === 0 ? say("chart.none") : say("chart.summary", { count, people: lines.size });
    setText(this.querySelector(".chart-summary"), text);
    this.#frame.classList.toggle("chart-empty", count === 0);
    if (this.#chosen !== null) return;
    const cursor = this.#cursor;
    cursor.setAttribute("aria-valuemax", String(Math.max(0, count - 1)));
    cursor.setAttribute("aria-valuenow", "0");
    cursor.setAttribute("aria-valuetext", text);
  }

  #showLegend(lines) {
    reconcile(
      this.querySelector(".chart-legend"),
      [...lines],
      ([author]) => author,
      ([author, points]) => {
        const peerId = peerIdOf(author);
        const item = element("li", {}, nameTag(peerId, peerId === this.#self), element("span", { class: "bpm" }));
        item.onpointerenter = () => this.#highlight(author);
        item.onpointerleave = () => this.#highlight(null);
        setText(item.lastElementChild, formatNumber(points.at(-1).bpm));
        return item;
      },
      (item, [, points]) => setText(item.lastElementChild, formatNumber(points.at(-1).bpm)),
    );
  }

  /** Explains what is missing in the visible range. */
  #showLimits(from, lines) {
    const { omittedUntil, size } = this.#history;
    const limits = [];
    if (omittedUntil !== null && from <= omittedUntil) {
      limits.push(say("chart.newest", { count: size, time: formatTime(omittedUntil, Date.now()) }));
    }
    if (lines.size === MAX_LINES && this.#history.authors.size > MAX_LINES) limits.push(say("chart.lastHeard", { count: MAX_LINES }));
    setText(this.querySelector(".chart-limits"), limits.join(" "));
  }

  #showTable(lines) {
    reconcile(
      this.querySelector("tbody"),
      [...lines],
      ([author]) => author,
      ([author, points]) => {
        const peerId = peerIdOf(author);
        const name = element("th", { scope: "row" }, nameTag(peerId, peerId === this.#self));
        const cells = Array.from({ length: 5 }, () => element("td", { class: "number" }));
        return fillRow(element("tr", {}, name, ...cells), points);
      },
      (row, [, points]) => fillRow(row, points),
    );
  }

  #highlight(author) {
    this.#highlighted = author;
    this.render();
  }

  #point({ clientX, clientY }) {
    const { scale, lines } = this.#shown;
    if (scale === null) return;
    const { left, top } = this.#frame.getBoundingClientRect();
    this.#choose(nearest(this.#visible(lines), scale, { x: clientX - left, y: clientY - top }, REACH_PX));
  }

  /** The lines without the points just outside the range. */
  #visible(lines) {
    const { from, to } = this.#shown;
    return [...lines].map(([author, points]) => [author, points.filter(({ time }) => time >= from && time <= to)]);
  }

  /** Left and right move through time; up and down move to the nearest reading of another author. */
  #onKey(event) {
    const all = this.#visible(this.#shown.lines)
      .flatMap(([author, points]) => points.map((point) => ({ author, point })))
      .sort((a, b) => a.point.time - b.point.time);
    if (all.length === 0) return;
    const at = all.findIndex(({ point }) => point.id === this.#chosen?.point.id);
    const targets = {
      ArrowLeft: () => (at < 0 ? all.length - 1 : Math.max(0, at - 1)),
      ArrowRight: () => (at < 0 ? all.length - 1 : Math.min(all.length - 1, at + 1)),
      PageUp: () => (at < 0 ? 0 : Math.max(0, at - 10)),
      PageDown: () => (at < 0 ? 0 : Math.min(all.length - 1, at + 10)),
      Home: () => 0,
      End: () => all.length - 1,
      ArrowUp: () => otherAuthor(all, at, 1),
      ArrowDown: () => otherAuthor(all, at, -1),
    };
    const target = targets[event.key];
    if (target === undefined) return;
    event.preventDefault();
    const index = target();
    this.#choose(all[index]);
    this.#cursor.setAttribute("aria-valuenow", String(index));
    this.#cursor.setAttribute("aria-valuemax", String(all.length - 1));
  }

  #choose(chosen) {
    this.#chosen = chosen;
    this.#showReadout();
    if (chosen === null) return;
    const { author, point } = chosen;
    const text = say("chart.point", { bpm: point.bpm, name: shortName(peerIdOf(author)), time: formatTime(point.time, Date.now()) });
    this.#cursor.setAttribute("aria-valuetext", text);
  }

  #showReadout() {
    const readout = this.querySelector(".chart-readout");
    const { scale, from } = this.#shown;
    const chosen = this.#chosen;
    const mark = this.querySelector(".chart-mark");
    readout.hidden = chosen === null || scale === null || chosen.point.time < from;
    mark.hidden = readout.hidden;
    if (readout.hidden) return;
    const { author, point } = chosen;
    const peerId = peerIdOf(author);
    readout.replaceChildren(
      element("strong", {}, say("reading.bpm", { bpm: point.bpm })),
      nameTag(peerId, peerId === this.#self),
      element("span", { class: "hint" }, formatTime(point.time, Date.now())),
    );
    const x = scale.x(point.time);
    readout.classList.toggle("chart-readout-left", x > this.#look.width / 2);
    for (const part of [readout, mark]) {
      part.style.setProperty("--x", `${x}px`);
      part.style.setProperty("--y", `${scale.y(point.bpm)}px`);
    }
    colour(mark, peerId);
  }
}

customElements.define("heart-chart", HeartChart);

/** A line as points, or as one bar per pixel column if its points are too dense. */
function shapeOf(points, { left, right }) {
  const width = right - left;
  if (points.length * DENSE_PX <= width) return { points, bars: [] };
  return { points: points.slice(-1), bars: bars(points, left, Math.max(0, Math.floor(width))) };
}

function fillRow(row, points) {
  const { latest, lowest, mean, highest, count } = summary(points);
  [latest, lowest, mean, highest, count].forEach((value, i) => setText(row.cells[i + 1], formatNumber(value)));
  return row;
}

function otherAuthor(all, at, direction) {
  if (at < 0) return all.length - 1;
  const authors = [...new Set(all.map(({ author }) => author))].sort();
  const here = all[at];
  const next = authors[(authors.indexOf(here.author) + direction + authors.length) % authors.length];
  const distance = ({ point }) => Math.abs(point.time - here.point.time);
  let best = -1;
  all.forEach((one, i) => {
    if (one.author === next && (best < 0 || distance(one) < distance(all[best]))) best = i;
  });
  return best;
}

function timeLabel(step) {
  const options =
    step < 60_000
      ? { hour: "numeric", minute: "2-digit", second: "2-digit" }
      : step < 86_400_000
        ? { hour: "numeric", minute: "2-digit" }
        : { month: "short", day: "numeric" };
  return formatter(Intl.DateTimeFormat, options);
}
