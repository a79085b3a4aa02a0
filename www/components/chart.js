//! The chart of heart rates: its canvas, its legend, its cursor and its table.

import { PEER_COLOURS, authorChanges, lookOf, nameText } from "../authors.js";
import { LocalizedElement, element, reconcile, setText } from "../dom.js";
import { bars, bpmAxis, inSight, isCrowded, longestPause, nearest, runs, timeTicks, usualPause } from "../geometry.js";
import { addTally, averages, emptyTally, tallyOf } from "../history.js";
import { formatNumber, formatTime, formatter, say } from "../strings.js";
import { colour, nameTag } from "./chain.js";

// Draws the chart on a canvas, in the page's colours. Does not decide what is in view.

/** Dash patterns that tell lines apart in forced colours; the first is a solid line. */
const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3], [12, 4], [4, 2, 1, 2]];

/**
 * The colours of a chart.
 *
 * @param {(name: string) => string} token returns a design token of the page
 */
export function coloursOf(token) {
  return {
    line: token("--line"),
    label: token("--ink-quiet"),
    surface: token("--surface"),
    unknown: token("--line-strong"),
    peers: Array.from({ length: PEER_COLOURS }, (_, i) => token(`--peer-${i}`)),
    forced: token("--series"),
  };
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {{ width: number, height: number, em: number, colours: object, font: string, area: { left: number, right: number, top: number, bottom: number },
 *   y: (bpm: number) => number, bpmTicks: { bpm: number, label: string }[], timeTicks: { x: number, label: string }[],
 *   unit: string, lines: { look: { colour: number, shape: number } | null, own: boolean, faint: boolean, sparse: boolean,
 *     runs: { x: number, y: number }[][], dots: { x: number, y: number }[], bars: { x: number, top: number, bottom: number }[],
 *     spans: { x: number, top: number, bottom: number, width: number }[] }[] }} chart lines: `runs` are strokes, `dots` have
 *   the author's shape, `bars` are dense strokes by pixel column, and `spans` reach from the lowest to the highest value of a
 *   longer time
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

function drawAxes(pen, { area, em, y, bpmTicks, timeTicks, unit, colours, font }) {
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
  pen.textAlign = "start";
  pen.fillText(unit, 2 * em, area.top - 16 * em);
  pen.textAlign = "center";
  for (const { x, label } of timeTicks) {
    const half = pen.measureText(label).width / 2;
    if (x - half < 0 || x + half > area.right + 14 * em) continue;
    pen.fillText(label, x, area.bottom + 19 * em);
  }
}

/** How visible the spans are behind the averages. */
const SPAN_ALPHA = 0.35;

function drawLine(pen, { em, colours }, { look, own, faint, sparse, runs, dots, bars, spans }) {
  const { forced } = colours;
  const colour = forced || (look === null ? colours.unknown : colours.peers[look.colour]);
  const visible = faint ? 0.18 : 1;
  pen.strokeStyle = colour;
  pen.fillStyle = colour;
  pen.globalAlpha = visible * SPAN_ALPHA;
  for (const { x, top, bottom, width } of spans) pen.fillRect(x - width / 2, top - 1, width, bottom - top + 2);
  pen.globalAlpha = visible;
  pen.lineWidth = (own ? 2.75 : 1.75) * em;
  pen.lineJoin = sparse ? "round" : "bevel";
  // Forced colours are all one colour, so dashes tell the lines apart there, and shapes everywhere.
  const dash = own || !forced ? [] : DASHES[(look?.shape ?? 0) % DASHES.length];
  pen.setLineDash(dash.map((length) => length * em));
  for (const run of runs) {
    if (run.length < 2) continue;
    pen.beginPath();
    for (const { x, y } of run) pen.lineTo(x, y);
    pen.stroke();
  }
  pen.setLineDash([]);
  const half = pen.lineWidth / 2;
  for (const { x, top, bottom } of bars) pen.fillRect(x, top - half, 1, bottom - top + 2 * half);
  const radius = (own ? 4.5 : 3.75) * em;
  // A rim in the colour behind keeps shapes of several lines apart.
  pen.strokeStyle = colours.surface;
  pen.lineWidth = em;
  for (const dot of dots) {
    drawShape(pen, dot, radius, look?.shape ?? 0);
    pen.stroke();
    pen.fill();
  }
  pen.globalAlpha = 1;
}

/** Corners of the shapes that are no circle, in units of the radius. The style sheet draws the same. */
const CORNERS = [
  null,
  [[-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]],
  [[0, -1.1], [1.1, 0.9], [-1.1, 0.9]],
  [[0, -1.2], [1.2, 0], [0, 1.2], [-1.2, 0]],
  [[-1.1, -0.9], [1.1, -0.9], [0, 1.1]],
  [[-0.4, -1.1], [0.4, -1.1], [0.4, -0.4], [1.1, -0.4], [1.1, 0.4], [0.4, 0.4], [0.4, 1.1], [-0.4, 1.1], [-0.4, 0.4], [-1.1, 0.4],
    [-1.1, -0.4], [-0.4, -0.4]],
];

function drawShape(pen, { x, y }, radius, shape) {
  pen.beginPath();
  const corners = CORNERS[shape];
  if (!corners) pen.arc(x, y, radius, 0, 2 * Math.PI);
  else for (const [dx, dy] of corners) pen.lineTo(x + dx * radius, y + dy * radius);
  pen.closePath();
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
const MARGIN = { left: 40, right: 14, top: 32, bottom: 26 };

/** The least distance of two times and of two dates below the chart, px at a text size of 16 px. */
const TIME_PX = 76;
const DATE_PX = 60;

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** A longer range is drawn by hour, and from the second value on by day. */
const BY_HOUR_MS = 2 * DAY_MS;
const BY_DAY_MS = 14 * DAY_MS;

/** The shortest time between two readings of the rows, ms. */
const ROWS_REST_MS = 1_000;

/** With more lines, only this tab's own one and the highlighted one have bars, which would cover each other. */
const MAX_BARRED_LINES = 4;

/** The most single points drawn with their shape in a dense line. */
const MAX_DENSE_DOTS = 200;

/** The least distance of two readings that are drawn with their shape, px at a text size of 16 px; and with more lines than above. */
const SHAPE_PX = 5;
const SHAPE_OF_MANY_PX = 20;

/** The key of the chosen range in the browser's storage. */
const RANGE_KEY = "heartchain.chart-range";

const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

/**
 * Properties: `history`, a `ReadingHistory`; `past`, a `ChainHistory`; and `self`, the author of this tab. Dispatches "past-requested" with
 * `{ since }`; call `refresh()`.
 */
export class HeartChart extends LocalizedElement {
  #history = null;
  /** The readings of each author, as of the last redraw. */
  #authors = new Map();
  #past = null;
  /** The rows of the past, when they were read, and whether they have changed since. */
  #rows = new Map();
  #rowsAt = -Infinity;
  /** @type {WeakMap<object[], { step: number, spans: Span[] }>} by the rows that they are made of */
  #spans = new WeakMap();
  #stale = true;
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

  set past(past) {
    this.#past = past;
    this.invalidate();
  }

  set self(self) {
    if (self === this.#self) return;
    this.#self = self;
    // Another author is marked as this tab's.
    this.languageChanged();
    this.invalidate();
  }

  connectedCallback() {
    const remembered = rememberedRange();
    for (const choice of this.#ranges) if (choice.value === remembered) choice.checked = true;
    super.connectedCallback();
    authorChanges.addEventListener("change", this.#onAuthors);
    for (const choice of this.#ranges) {
      choice.onchange = () => {
        rememberRange(choice.value);
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
    authorChanges.removeEventListener("change", this.#onAuthors);
    clearTimeout(this.#timer);
  }

  #onAuthors = () => this.invalidate();

  languageChanged() {
    this.querySelector(".chart-legend").replaceChildren();
    this.querySelector("tbody").replaceChildren();
    this.#cursor.removeAttribute("aria-valuetext");
  }

  /** Redraws the history, with readings that are new. */
  refresh() {
    this.#stale = true;
    this.invalidate();
  }

  render() {
    if (this.#history === null) return;
    this.#authors = this.#history.authors;
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
    const oldest = [...this.#pastRows.values()].map((rows) => (rows.length === 0 ? to : rows[0].start * HOUR_MS));
    return Math.min(this.#history.oldest ?? to, to - 60_000, ...oldest);
  }

  /** The rows of the whole history, by author; of a moment ago, because putting them together takes a while. */
  get #pastRows() {
    const now = performance.now();
    if (this.#stale && now - this.#rowsAt > ROWS_REST_MS) {
      this.#rows = this.#past?.rows() ?? new Map();
      this.#rowsAt = now;
      this.#stale = false;
    }
    return this.#rows;
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
    // Of a longer time, hours and days are drawn.
    const since = Date.now() - (this.#range > 0 ? this.#range : BY_HOUR_MS);
    this.dispatchEvent(new CustomEvent("past-requested", { detail: { since } }));
  }

  /**
   * The lines of the most recent authors in the current range: readings, and before them what is known by hour or by day.
   *
   * @returns {Map<string, Line>}
   */
  #linesInRange(from, to) {
    const step = stepOf(to - from);
    const authors = this.#authors;
    const readingsFrom = this.#readingsFrom(from, to);
    const rows = readingsFrom > from ? this.#pastRows : new Map();
    const lines = [];
    for (const author of new Set([...authors.keys(), ...rows.keys()])) {
      const points = readingsFrom === Infinity ? [] : inSight(authors.get(author) ?? [], Math.max(from, readingsFrom + 1), to);
      const spans = spansInRange(this.#spansOf(author, rows.get(author), step), from, Math.min(to, readingsFrom));
      const within = points.filter(({ time }) => time >= from && time <= to);
      if (within.length + spans.length > 0) lines.push([author, { points, within, spans, newest: (within.at(-1) ?? spans.at(-1)).time }]);
    }
    lines.sort(([, a], [, b]) => b.newest - a.newest);
    const drawn = lines.slice(0, MAX_LINES);
    // In the order in which authors appeared, so that the legend does not reorder with each reading.
    const place = (author) => lookOf(author)?.place ?? Infinity;
    drawn.sort(([a], [b]) => place(a) - place(b) || (a < b ? -1 : 1));
    return new Map(drawn);
  }

  /**
   * The time until which hours or days stand for readings. All of a range that is long or crowded is drawn alike; of another one,
   * hours stand for the readings that were not loaded.
   */
  #readingsFrom(from, to) {
    if (to - from > BY_HOUR_MS) return Infinity;
    const count = [...this.#authors.values()].reduce((sum, points) => sum + inSight(points, from, to).length, 0);
    const crowded = this.#past?.missing === 0 && isCrowded(count, this.#look?.width ?? Infinity, to - from);
    return crowded ? Infinity : (this.#history.omittedUntil ?? -Infinity);
  }

  /** The hours or days of an author. The chart is redrawn each second, and its rows rarely change. */
  #spansOf(author, rows, step) {
    if (rows === undefined) return [];
    let known = this.#spans.get(rows);
    if (known?.step !== step) {
      known = { step, spans: spansOf(author, rows, step) };
      this.#spans.set(rows, known);
    }
    return known.spans;
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
    let [low, high] = [Infinity, -Infinity];
    for (const { within, spans } of lines.values()) {
      for (const { bpm } of within) [low, high] = [Math.min(low, bpm), Math.max(high, bpm)];
      for (const span of spans) [low, high] = [Math.min(low, span.low), Math.max(high, span.high)];
    }
    const axis = bpmAxis(low > high ? [] : [low, high], Math.max(3, Math.floor((area.bottom - area.top) / (30 * em))));
    const x = (time) => area.left + ((time - from) / (to - from)) * (area.right - area.left);
    const y = (bpm) => area.bottom - ((bpm - axis.low) / (axis.high - axis.low)) * (area.bottom - area.top);
    const offset = -new Date(to).getTimezoneOffset() * 60_000;
    const labelWidth = (to - from > BY_HOUR_MS ? DATE_PX : TIME_PX) * em;
    const ticks = timeTicks(from, to, Math.max(2, Math.floor((area.right - area.left) / labelWidth)), offset);
    const label = timeLabel(ticks.step);
    this.#shown = { lines, scale: { x, y }, from, to };
    const shapes = [...lines].map(([author, line], index) => {
      const own = author === this.#self;
      const barred = lines.size <= MAX_BARRED_LINES || own || this.#highlighted === author;
      const shape = shapeOf(line, { x, y, area, em }, { index, count: lines.size });
      return {
        look: lookOf(author),
        own,
        faint: this.#highlighted !== null && this.#highlighted !== author,
        ...shape,
        spans: barred ? shape.spans : [],
      };
    });
    drawChart(this.querySelector("canvas"), {
      ...this.#look,
      area,
      y,
      unit: say("chart.unit"),
      bpmTicks: axis.ticks.map((bpm) => ({ bpm, label: formatNumber(bpm) })),
      timeTicks: ticks.times.map((time) => ({ x: x(time), label: label.format(time) })),
      lines: shapes,
    });
  }

  /** Describes the chart in a sentence. */
  #describe(lines) {
    const counted = (spans) => spans.reduce((sum, { tally }) => sum + tally.count, 0);
    const count = [...lines.values()].reduce((sum, { within, spans }) => sum + within.length + counted(spans), 0);
    const shown = [...lines.values()].reduce((sum, { within, spans }) => sum + within.length + spans.length, 0);
    const text = count === 0 ? say("chart.none") : say("chart.summary", { count, people: lines.size });
    setText(this.querySelector(".chart-summary"), text);
    this.#frame.classList.toggle("chart-empty", count === 0);
    if (this.#chosen !== null) return;
    const cursor = this.#cursor;
    cursor.setAttribute("aria-valuemax", String(Math.max(0, shown - 1)));
    cursor.setAttribute("aria-valuenow", "0");
    cursor.setAttribute("aria-valuetext", text);
  }

  #showLegend(lines) {
    reconcile(
      this.querySelector(".chart-legend"),
      [...lines],
      ([author]) => author,
      ([author, line]) => {
        const item = element("li", {}, nameTag(author, author === this.#self), element("span", { class: "bpm" }));
        item.onpointerenter = () => this.#highlight(author);
        item.onpointerleave = () => this.#highlight(null);
        setText(item.lastElementChild, formatNumber(this.#latest(author, line)));
        return item;
      },
      (item, [author, line]) => setText(item.lastElementChild, formatNumber(this.#latest(author, line))),
    );
  }

  /** The author's latest reading, or the average of the last hour that is known. */
  #latest(author, line) {
    return this.#authors.get(author)?.at(-1).bpm ?? line.spans.at(-1).bpm;
  }

  /** Explains what is summarized or missing in the visible range. */
  #showLimits(from, lines) {
    const { omittedUntil } = this.#history;
    const limits = [];
    const spans = [...lines.values()].flatMap(({ spans }) => spans);
    if (spans.length > 0) {
      const byDay = spans.some(({ length }) => length > HOUR_MS);
      const all = ![...lines.values()].some(({ within }) => within.length > 0);
      limits.push(all ? say(byDay ? "chart.byDay" : "chart.byHour") : say("chart.byHourUntil", { time: formatTime(omittedUntil, Date.now()) }));
      if (lines.size > MAX_BARRED_LINES) limits.push(say("chart.barsOf"));
    }
    const missing = this.#past?.missing ?? 0;
    if (missing > 0 && (this.#range === 0 || (omittedUntil !== null && from <= omittedUntil))) limits.push(say("chart.reading", { blocks: missing }));
    if (lines.size === MAX_LINES && this.#authors.size > MAX_LINES) limits.push(say("chart.lastHeard", { count: MAX_LINES }));
    setText(this.querySelector(".chart-limits"), limits.join(" "));
  }

  #showTable(lines) {
    reconcile(
      this.querySelector("tbody"),
      [...lines],
      ([author]) => author,
      ([author, line]) => {
        const name = element("th", { scope: "row" }, nameTag(author, author === this.#self));
        const cells = Array.from({ length: 7 }, () => element("td", { class: "number" }));
        return fillRow(element("tr", {}, name, ...cells), line, this.#latest(author, line));
      },
      (row, [author, line]) => fillRow(row, line, this.#latest(author, line)),
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

  /** What can be selected: the readings in the range, and the hours and days. */
  #visible(lines) {
    return [...lines].map(([author, { within, spans }]) => [author, [...spans, ...within]]);
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
    const key = point.length === undefined ? "chart.point" : "chart.spanPoint";
    const text = say(key, { ...point, name: nameText(author), time: timeOf(point) });
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
    readout.replaceChildren(
      element("strong", {}, point.length === undefined ? say("reading.bpm", { bpm: point.bpm }) : say("chart.span", point)),
      nameTag(author, author === this.#self),
      element("span", { class: "hint" }, timeOf(point)),
    );
    const x = scale.x(point.time);
    readout.classList.toggle("chart-readout-left", x > this.#look.width / 2);
    for (const part of [readout, mark]) {
      part.style.setProperty("--x", `${x}px`);
      part.style.setProperty("--y", `${scale.y(point.bpm)}px`);
    }
    colour(mark, author);
  }
}

customElements.define("heart-chart", HeartChart);

/**
 * What is drawn of an author. `points` are readings with a neighbour on each side of the range, `within` those in it;
 * `spans` are hours or days.
 *
 * @typedef {{ points: object[], within: object[], spans: Span[], newest: number }} Line
 * @typedef {{ id: string, start: number, length: number, time: number, bpm: number, low: number, high: number, tally: object }} Span
 */

/** How long the spans of a range are, ms. */
function stepOf(range) {
  return range > BY_DAY_MS ? DAY_MS : HOUR_MS;
}

/**
 * Rows as hours, or as days of local time.
 *
 * @param {string} author
 * @param {object[]} rows
 * @param {number} step the length of a span, ms
 * @returns {Span[]} oldest first
 */
function spansOf(author, rows, step) {
  const spans = new Map();
  let day = { start: 0, end: 0 };
  const dayOf = (time) => {
    if (time < day.start || time >= day.end) {
      const start = new Date(time).setHours(0, 0, 0, 0);
      day = { start, end: new Date(start + 1.5 * DAY_MS).setHours(0, 0, 0, 0) };
    }
    return day.start;
  };
  for (const row of rows) {
    const start = row.start * HOUR_MS;
    const length = Math.max(step, row.span * HOUR_MS);
    // The time in the middle of the row, so that a day of UTC counts as the day that it is mostly part of.
    const spanStart = step === HOUR_MS ? start : dayOf(start + (row.span * HOUR_MS) / 2);
    const span = spans.get(spanStart) ?? { id: `${author} ${spanStart}`, start: spanStart, length, tally: emptyTally() };
    addTally(span.tally, row);
    spans.set(spanStart, span);
  }
  return [...spans.values()]
    .sort((a, b) => a.start - b.start)
    .map((span) => ({
      ...span,
      time: span.start + span.length / 2,
      bpm: averages(span.tally).mean,
      low: span.tally.low,
      high: span.tally.high,
    }));
}

/** The spans that reach into a range, each with a time in it. */
function spansInRange(spans, from, to) {
  return spans
    .filter(({ start, length }) => start + length > from && start < to)
    .map((span) => ({ ...span, time: Math.min(Math.max(span.time, from), to) }));
}

/** The spans of several authors stand side by side: the widest, px, and the share of a step that they fill. */
const MAX_SPAN_PX = 9;
const SPAN_SHARE = 0.8;

/** A line as strokes between dots; where readings are dense, as one bar per pixel column. */
function shapeOf({ points, within, spans }, { x, y, area, em }, { index, count }) {
  const isMany = count > MAX_BARRED_LINES;
  const apart = (isMany ? SHAPE_OF_MANY_PX : SHAPE_PX) * em;
  const areApart = (all) => all.length < 2 || x(usualPause(all)) - x(0) >= apart;
  const place = ({ time, bpm }) => ({ x: x(time), y: y(bpm), time });
  const width = area.right - area.left;
  const few = width / (14 * em);
  const sparse = within.length < few && spans.length < few && areApart(within) && areApart(spans);
  const readingRuns = runs(points, longestPause(points)).map((run) => run.map(place));
  const first = spans[0];
  const slot = first === undefined ? 0 : (x(first.start + first.length) - x(first.start)) * SPAN_SHARE;
  // Of many lines, one at a time has bars.
  const beside = isMany ? 1 : count;
  const bar = Math.max(1.5, Math.min(MAX_SPAN_PX * em, slot / beside));
  const shift = isMany ? 0 : (index - (count - 1) / 2) * Math.min(bar, slot / beside);
  const columns = spans.map((span) => ({ ...place(span), x: x(span.time) + shift, top: y(span.high), bottom: y(span.low), width: bar }));
  const spanRuns = runs(columns, first === undefined ? 0 : 3 * first.length);
  const dense = points.length * DENSE_PX > width;
  // A neighbour outside the range only leads a line to the edge.
  const alone = (all) => all.filter((run) => run.length === 1).flat().filter((dot) => dot.x >= area.left);
  const strokes = dense ? spanRuns : [...spanRuns, ...readingRuns];
  return {
    sparse,
    runs: strokes,
    bars: dense ? readingRuns.flatMap((run) => bars(run, area.left, Math.max(0, Math.floor(width)))) : [],
    dots: sparse
      ? strokes.flat().concat(dense ? alone(readingRuns) : [])
      : [...alone([...spanRuns, ...readingRuns]).slice(-MAX_DENSE_DOTS), ...[columns.at(-1), readingRuns.at(-1)?.at(-1)].filter(Boolean)],
    spans: columns,
  };
}

function tallyOfLine({ within, spans }) {
  return spans.reduce((tally, span) => addTally(tally, span.tally), tallyOf(within));
}

function fillRow(row, line, latest) {
  const tally = tallyOfLine(line);
  const { mean, rest, active } = averages(tally);
  [latest, tally.low, mean, rest, active, tally.high, tally.count].forEach((value, i) =>
    setText(row.cells[i + 1], value === null ? say("chart.noAverage") : formatNumber(value)),
  );
  return row;
}

/** The time of a reading, or the hour or day that a span covers. */
function timeOf({ time, start, length }) {
  if (length === undefined) return formatTime(time, Date.now());
  return length > HOUR_MS ? formatter(Intl.DateTimeFormat, { dateStyle: "medium" }).format(start) : formatTime(start, Date.now());
}

function rememberedRange() {
  try {
    return localStorage.getItem(RANGE_KEY);
  } catch {
    return null;
  }
}

function rememberRange(range) {
  try {
    localStorage.setItem(RANGE_KEY, range);
  } catch {
    // Only the preference is lost.
  }
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
