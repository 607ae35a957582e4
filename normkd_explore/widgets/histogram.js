// The data set's effective temperatures T_norm * std: teacher above the axis, student below, with marks for
// this sample, the pinned one and KD's single T. Bins live on std; T_norm only stretches the axis.
import { fixed, h, label, svg } from "./dom.js";
import { roundUp } from "./scale.js";

const BINS = 32, HEIGHT = 108, BASE = 62, UP = 40, DOWN = 24;

function counts(values, end) {
  const bins = new Array(BINS).fill(0);
  for (const value of values) bins[Math.min(BINS - 1, Math.floor((value / end) * BINS))] += 1;
  const most = Math.max(...bins);
  return bins.map((n) => n / most);
}

function outline(bins, height) {
  const steps = bins.map((share, i) => `L${i} ${share * height}L${i + 1} ${share * height}`);
  return `M0 0${steps.join("")}L${BINS} 0Z`;
}

function createMark(name, lift) {
  const line = svg("line", { y1: lift + 5, y2: HEIGHT - 20, class: `nk-mark nk-mark-${name}` });
  const text = svg("text", { y: lift, class: "nk-mark-text" });
  const node = svg("g");
  node.append(line, text);
  const put = (x, width, words) => {
    node.setAttribute("transform", `translate(${x.toFixed(1)} 0)`);
    text.textContent = words;
    text.setAttribute("text-anchor", x > width - 90 ? "end" : "start");
    text.setAttribute("x", x > width - 90 ? -4 : 4);
  };
  return { node, put };
}

export function createHistogram(data) {
  const stdT = data.list.map((sample) => sample.stdT), stdS = data.list.map((sample) => sample.stdS);
  const low = Math.min(...stdT), high = Math.max(...stdT), end = Math.max(high, ...stdS) || 1;
  const plot = svg("svg", { height: HEIGHT, role: "img" });
  const up = svg("path", { d: outline(counts(stdT, end), -UP), class: "nk-hist nk-hist-teacher" });
  const down = svg("path", { d: outline(counts(stdS, end), DOWN), class: "nk-hist nk-hist-student" });
  const axis = svg("path", { class: "nk-hist-axis" });
  const ticks = Array.from({ length: 6 }, () => svg("text", { y: HEIGHT - 4, class: "nk-tick" }));
  const marks = { kd: createMark("kd", 10), a: createMark("a", 22), b: createMark("b", 34) };
  plot.append(up, down, axis, ...ticks, marks.kd.node, marks.b.node, marks.a.node);
  const summary = label("small", { class: "nk-hint" });
  const root = h("section", { class: "nk-histogram" },
    h("header", {}, h("h3", {}, "Effective temperature of every sample"), summary), plot);
  let width = 0, last = null;

  function scaleAxis(top) {
    const step = roundUp(top / (ticks.length - 0.5));
    ticks.forEach((node, i) => {
      const x = (i * step * width) / top;
      node.textContent = i * step <= top ? fixed(i * step, step < 1 ? 1 : 0) : "";
      node.setAttribute("x", x.toFixed(1));
      node.setAttribute("text-anchor", i === 0 ? "start" : "middle");
    });
    axis.setAttribute("d", `M0 ${BASE}H${width}`);
  }

  function paint(state, a, b) {
    last = [state, a, b];
    const { T, T_norm } = state;
    const top = 1.06 * Math.max(T_norm * end, T);
    const at = (temperature) => (temperature / top) * width;
    const stretch = `translate(0 ${BASE}) scale(${(at(T_norm * end) / BINS).toFixed(5)} 1)`;
    up.setAttribute("transform", stretch);
    down.setAttribute("transform", stretch);
    marks.kd.put(at(T), width, `KD, every sample: ${fixed(T)}`);
    marks.a.put(at(T_norm * a.stdT), width, `A: ${fixed(T_norm * a.stdT)}`);
    marks.b.node.style.display = b ? "" : "none";
    if (b) marks.b.put(at(T_norm * b.stdT), width, `B: ${fixed(T_norm * b.stdT)}`);
    scaleAxis(top);
    const range = `${fixed(T_norm * low, 1)} to ${fixed(T_norm * high, 1)}`;
    summary.show(`T_norm · std, teacher above, student below; teacher ${range}`);
    plot.setAttribute("aria-label", `Histogram of T_norm times std. KD ${fixed(T)}, A ${fixed(T_norm * a.stdT)}`);
  }
  const observer = new ResizeObserver(() => {
    width = plot.clientWidth;
    if (last) paint(...last);
  });
  observer.observe(plot);
  return { root, paint, stop: () => observer.disconnect() };
}
