// The data set's effective temperatures T_norm * std: teacher above the axis, student below, with marks for
// this sample, the pinned one and KD's single T. Bins live on std; T_norm only stretches the axis.
import { fixed, h, label, svg, svgLabel, writer } from "./dom.js";
import { roundUp } from "./scale.js";

const BINS = 32, HEIGHT = 108, BASE = 62, UP = 40, DOWN = 24, LETTER = 7.5, NARROW = 480;

function counts(values, end) {
  const bins = new Array(BINS).fill(0);
  for (const value of values) bins[Math.min(BINS - 1, Math.floor((value / end) * BINS))] += 1;
  const most = Math.max(...bins);
  return bins.map((n) => n / most);
}

// Coordinates, not a transform: a transform that changes makes the browser rebuild the page's layers.
function outline(bins, height, unit) {
  const at = (i) => (i * unit).toFixed(1);
  const steps = bins.map((share, i) => `V${(BASE + share * height).toFixed(1)}H${at(i + 1)}`);
  return `M0 ${BASE}${steps.join("")}V${BASE}Z`;
}

function createMark(name, lift) {
  const line = svg("line", { y1: lift + 5, y2: HEIGHT - 20, class: `nk-mark nk-mark-${name}` });
  const text = svgLabel({ y: lift, class: "nk-mark-text" });
  const node = svg("g");
  node.append(line, text);
  const writeLine = writer(line), writeText = writer(text);
  const put = (x, width, words) => {
    const place = x.toFixed(1), isLast = x + LETTER * words.length > width;
    writeLine({ x1: place, x2: place });
    writeText({ x: (x + (isLast ? -4 : 4)).toFixed(1), "text-anchor": isLast ? "end" : "start" });
    text.show(words);
  };
  return { node, put };
}

export function createHistogram(data) {
  const stdT = data.list.map((sample) => sample.stdT), stdS = data.list.map((sample) => sample.stdS);
  const low = Math.min(...stdT), high = Math.max(...stdT), end = Math.max(high, ...stdS) || 1;
  const plot = svg("svg", { height: HEIGHT, role: "img" });
  const up = svg("path", { class: "nk-hist nk-hist-teacher" }), binsT = counts(stdT, end);
  const down = svg("path", { class: "nk-hist nk-hist-student" }), binsS = counts(stdS, end);
  const axis = svg("path", { class: "nk-hist-axis" });
  const ticks = Array.from({ length: 6 }, (_, i) =>
    svgLabel({ y: HEIGHT - 4, class: "nk-tick", "text-anchor": i ? "middle" : "start" }));
  const [writePlot, writeAxis, ...writeTick] = [plot, axis, ...ticks].map(writer);
  const marks = { kd: createMark("kd", 10), a: createMark("a", 22), b: createMark("b", 34) };
  plot.append(up, down, axis, ...ticks, marks.kd.node, marks.b.node, marks.a.node);
  const summary = label("small", { class: "nk-hint" });
  const root = h("section", { class: "nk-histogram" },
    h("header", {}, h("h3", {}, "Effective temperature of every sample"), h("div", {}, summary)), plot);
  let width = 0, last = null, drawnUnit = null;

  function drawBins(unit) {
    if (unit === drawnUnit) return;
    drawnUnit = unit;
    up.setAttribute("d", outline(binsT, -UP, unit));
    down.setAttribute("d", outline(binsS, DOWN, unit));
  }

  function scaleAxis(top) {
    const step = roundUp(top / (ticks.length - 0.5));
    ticks.forEach((node, i) => {
      node.show(i * step <= top ? fixed(i * step, step < 1 ? 1 : 0) : "");
      writeTick[i]({ x: ((i * step * width) / top).toFixed(1) });
    });
    writeAxis({ d: `M0 ${BASE}H${width}` });
  }

  function paint(state, a, b) {
    last = [state, a, b];
    const { T, T_norm } = state;
    const top = 1.06 * Math.max(T_norm * end, T);
    const at = (temperature) => (temperature / top) * width;
    drawBins(at(T_norm * end) / BINS);
    marks.kd.put(at(T), width, width < NARROW ? `KD: ${fixed(T)}` : `KD, every sample: ${fixed(T)}`);
    marks.a.put(at(T_norm * a.stdT), width, `A: ${fixed(T_norm * a.stdT)}`);
    marks.b.node.style.display = b ? "" : "none";
    if (b) marks.b.put(at(T_norm * b.stdT), width, `B: ${fixed(T_norm * b.stdT)}`);
    scaleAxis(top);
    const range = `${fixed(T_norm * low, 1)} to ${fixed(T_norm * high, 1)}`;
    summary.show(`T_norm · std, teacher above, student below; teacher ${range}`);
    writePlot({ "aria-label": `Histogram of T_norm times std. KD ${fixed(T)}, A ${fixed(T_norm * a.stdT)}` });
  }
  const observer = new ResizeObserver(() => {
    width = plot.clientWidth;
    if (last) paint(...last);
  });
  observer.observe(plot);
  return { root, paint, stop: () => observer.disconnect() };
}
