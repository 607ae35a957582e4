// Effective classes against T, one curve a sample: each crosses the band somewhere else. Round marks stand where KD's one
// T puts the samples, diamonds where each one's own T puts it.
import { h, svg, svgLabel, writer } from "./dom.js";
import { classesText, effectiveClasses, logPlace, placeInBand } from "./softness.js";

const HEIGHT = 204, MARGIN = { left: 34, right: 30, top: 10, bottom: 34 }, POINTS = 120, T_RANGE = [0.5, 20];
const KEYS = { dot: "KD, one T", diamond: "NormKD, own T", key: "in the band" };
const T_TICKS = [0.5, 1, 2, 5, 10, 20], CLASS_TICKS = [1, 3, 10, 30, 100, 300, 1000, 3000, 10000];

const temperatureAt = (i) => T_RANGE[0] * (T_RANGE[1] / T_RANGE[0]) ** (i / (POINTS - 1));
const rhombus = (x, y, size = 6.5) => `M${x - size} ${y}L${x} ${y - size}L${x + size} ${y}L${x} ${y + size}Z`;
const point = (x, y) => `${x.toFixed(1)} ${y.toFixed(1)}`;

function createCurve(letter) {
  const whole = svg("path", { class: "nk-curve" }), green = svg("path", { class: "nk-curve nk-curve-inside" });
  const round = svg("circle", { r: 5.5, class: "nk-curve-kd" }), own = svg("path", { class: "nk-curve-own" });
  const text = svgLabel({ class: "nk-curve-text", "text-anchor": letter === "A" ? "end" : "start" });
  const lines = svg("g", { class: `nk-curve-${letter.toLowerCase()}` }), marks = svg("g");
  lines.append(whole, green);
  marks.append(own, round, text);
  const [writeWhole, writeGreen, writeRound, writeOwn, writeText] = [whole, green, round, own, text].map(writer);
  let logits = null, values = [];

  function assign(next) {
    if (next === logits) return;
    logits = next;
    values = Array.from({ length: POINTS }, (_, i) => effectiveClasses(logits, temperatureAt(i)));
  }

  // Up to T only, while Play draws it.
  function draw(frame, band, upTo) {
    const shown = values.map((value, i) => [temperatureAt(i), value]).filter(([T]) => T <= upTo);
    const line = (points) => (points.length ? `M${points.map(([T, value]) => point(frame.x(T), frame.y(value))).join("L")}` : "");
    writeWhole({ d: line(shown) });
    writeGreen({ d: line(shown.filter(([, value]) => placeInBand(value, band) === "inside")) });
  }

  function mark(frame, T, ownT) {
    const value = effectiveClasses(logits, T), ownValue = effectiveClasses(logits, ownT), x = frame.x(T), y = frame.y(value);
    writeRound({ cx: x.toFixed(1), cy: y.toFixed(1) });
    writeText({ x: (x + (letter === "A" ? -9 : 9)).toFixed(1), y: (y + (letter === "A" || frame.isHigh(value) ? -6 : 15)).toFixed(1) });
    text.show(`${letter} ${classesText(value)}`);
    const place = [frame.x(ownT), frame.y(ownValue)];
    writeOwn({ d: rhombus(...place.map(Math.round)) });
    return place;
  }
  const hide = (isHidden) => [lines, marks].forEach((node) => (node.style.display = isHidden ? "none" : ""));
  return { lines, marks, assign, draw, mark, hide };
}

function drawFrame(classes, width) {
  const right = Math.max(MARGIN.left + 60, width - MARGIN.right), bottom = HEIGHT - MARGIN.bottom;
  const x = (T) => MARGIN.left + (right - MARGIN.left) * logPlace(T, T_RANGE);
  const y = (value) => bottom - (bottom - MARGIN.top) * logPlace(value, [1, classes]);
  // Up there a curve is flat, and a text to the right stands above it; below, it stands under the rising curve.
  const isHigh = (value) => value > 0.6 * classes;
  return { x, y, right, bottom, isHigh };
}

function drawGround(frame, classes, band) {
  const text = (place, words, anchor) => {
    const node = svg("text", { class: "nk-tick", "text-anchor": anchor, ...place });
    node.textContent = words;
    return node;
  };
  const left = MARGIN.left, top = frame.y(band[1]);
  const rows = CLASS_TICKS.filter((tick) => tick <= classes);
  return [
    svg("rect", { x: left, y: top, width: frame.right - left, height: frame.y(band[0]) - top, class: "nk-curves-band" }),
    ...rows.map((tick) => svg("path", { d: `M${left} ${frame.y(tick).toFixed(1)}H${frame.right}`, class: "nk-curves-grid" })),
    ...rows.map((tick) => text({ x: left - 6, y: (frame.y(tick) + 4).toFixed(1) }, String(tick), "end")),
    ...T_TICKS.map((tick) => text({ x: frame.x(tick).toFixed(1), y: frame.bottom + 17 }, String(tick), "middle")),
    text({ x: frame.right, y: frame.bottom + 32 }, "temperature T", "end"),
  ];
}

export function createCurves({ classes, band }) {
  const ground = svg("g"), rule = svg("path", { class: "nk-curves-rule" }), bridge = svg("path", { class: "nk-curves-bridge" });
  const curves = { a: createCurve("A"), b: createCurve("B") };
  const plot = svg("svg", { height: HEIGHT, role: "img", class: "nk-curves-plot" });
  plot.append(ground, curves.a.lines, curves.b.lines, rule, bridge, curves.a.marks, curves.b.marks);
  const legend = h("p", { class: "nk-curves-legend" }, ...Object.entries(KEYS).map(([kind, words]) =>
    h("span", {}, h("i", { class: `nk-curves-${kind}` }), words)));
  const root = h("div", { class: "nk-curves" }, legend, plot);
  const [writePlot, writeRule, writeBridge] = [plot, rule, bridge].map(writer);
  let width = 0, frame = null, drawn = null, last = null;

  // samples: [{ logits, stdT, name }] of A and, where there is one, B.
  function paint(state, samples, upTo = Infinity) {
    last = [state, samples, upTo];
    if (!width) return;
    const used = samples.map((sample, i) => [[curves.a, curves.b][i], sample]);
    curves.b.hide(samples.length < 2);
    const key = [width, upTo, ...samples.map(({ index }) => index)].join();
    for (const [curve, { logitsT }] of used) {
      curve.assign(logitsT);
      if (key !== drawn) curve.draw(frame, band, upTo);
    }
    drawn = key;
    const places = used.map(([curve, { stdT }]) => curve.mark(frame, state.T, Math.max(1e-9, state.T_norm * stdT)));
    writeRule({ d: `M${frame.x(state.T).toFixed(1)} ${MARGIN.top}V${frame.bottom}` });
    writeBridge({ d: places.length > 1 ? `M${point(...places[0])}L${point(...places[1])}` : "" });
    writePlot({ "aria-label": `Effective classes against T, from ${T_RANGE.join(" to ")}, for ${samples.map(({ name }) => name).join(" and ")}` });
  }
  const observer = new ResizeObserver(() => {
    width = plot.clientWidth;
    frame = drawFrame(classes, width);
    ground.replaceChildren(...drawGround(frame, classes, band));
    drawn = null;
    if (last) paint(...last);
  });
  observer.observe(plot);
  return { root, paint, stop: () => observer.disconnect() };
}
