//! Draws the chart on a canvas, in the page's colours. Does not decide what is in view.

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
