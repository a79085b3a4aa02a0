//! Draws the chart that it is told to draw, in the page's own colours. Never decides what is in sight.

/** Dashes that tell lines apart where colours do not; the first is none. */
const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3]];

/** Colours remembered: more than there are hues and shades. */
const MAX_KNOWN = 1_024;
const known = new Map();
/** A single pixel. */
let sample = null;

/**
 * The colours that a chart is drawn in.
 *
 * @param {(name: string) => string} token a value of the page's design
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
 *   lines: { hue: number, shade: 0 | 1, place: number, own: boolean, faint: boolean, sparse: boolean, points: { x: number, y: number }[],
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
  // This tab's own line comes last and lies on top.
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
    const place = Math.round(y(bpm)) + 0.5;
    pen.beginPath();
    pen.moveTo(area.left, place);
    pen.lineTo(area.right, place);
    pen.stroke();
    pen.fillText(label, area.left - 8 * em, place);
  }
  pen.textBaseline = "alphabetic";
  pen.textAlign = "center";
  for (const { x, label } of timeTicks) {
    const half = pen.measureText(label).width / 2;
    if (x - half < 0 || x + half > area.right + 14 * em) continue;
    pen.fillText(label, x, area.bottom + 19 * em);
  }
}

function drawLine(pen, { em, colours }, { hue, shade, place, own, faint, sparse, points, bars }) {
  const { forced } = colours;
  const colour = forced || plain(`oklch(${colours.lightness[shade]} ${colours.chroma} ${hue})`);
  pen.globalAlpha = faint ? 0.18 : 1;
  pen.strokeStyle = colour;
  pen.fillStyle = colour;
  pen.lineWidth = (own ? 2.75 : 1.75) * em;
  pen.lineJoin = sparse ? "round" : "bevel";
  // Where readings are dense, dashes would only be noise, but for whom they are all there is.
  const dash = own || !(sparse || forced) ? [] : DASHES[place % DASHES.length];
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
 * The same colour as red, green and blue of eight bits, which many small strokes and bars are drawn in more than ten
 * times as fast.
 *
 * @param {string} colour as CSS has it
 */
function plain(colour) {
  let found = known.get(colour);
  if (found === undefined) {
    if (known.size >= MAX_KNOWN) known.clear();
    sample ??= Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
    sample.fillStyle = colour;
    sample.fillRect(0, 0, 1, 1);
    const [red, green, blue] = sample.getImageData(0, 0, 1, 1).data;
    found = `rgb(${red} ${green} ${blue})`;
    known.set(colour, found);
  }
  return found;
}
