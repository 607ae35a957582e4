// The chart of the race: top-1 over images seen. Lines are training batches, points the held-out split; the
// newest seed is strong. Pointer or arrow keys read the points of one epoch.
import { fixed, h, label } from "./dom.js";

const HEIGHT = 304, LEFT = 38, TOP = 12, BOTTOM = 44, LABEL_GAP = 14, LABEL_LETTERS = 12, STRONG = 4.5, FAINT = 3;
const TICK_STEPS = [1, 2, 2.5, 5, 10];
const NAMESPACE = "http://www.w3.org/2000/svg";
const images = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

// Corners around 0 0 at size 1; a circle has none.
const CORNERS = {
  square: [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
  diamond: [[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]],
  "triangle-up": [[0, -1.2], [1.2, 0.9], [-1.2, 0.9]],
  "triangle-down": [[0, 1.2], [-1.2, -0.9], [1.2, -0.9]],
  x: [[-1.2, -0.7], [-0.7, -1.2], [0, -0.5], [0.7, -1.2], [1.2, -0.7], [0.5, 0], [1.2, 0.7], [0.7, 1.2], [0, 0.5], [-0.7, 1.2], [-1.2, 0.7], [-0.5, 0]],
};

const brief = (name) => (name.length > LABEL_LETTERS ? `${name.slice(0, LABEL_LETTERS - 1)}…` : name);

export function shape(tag, attributes = {}, ...children) {
  const node = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export function marker(kind, x, y, size) {
  const at = (dx, dy) => `${(x + dx * size).toFixed(1)} ${(y + dy * size).toFixed(1)}`;
  if (kind === "circle") return `M${at(-1, 0)}a${size} ${size} 0 1 0 ${2 * size} 0a${size} ${size} 0 1 0 ${-2 * size} 0Z`;
  return `M${CORNERS[kind].map(([dx, dy]) => at(dx, dy)).join("L")}Z`;
}

// Texts at the line ends, each at least `gap` below the one above, and none outside `low` to `high`.
export function spreadApart(places, gap, low, high) {
  const order = places.map((_, i) => i).sort((a, b) => places[a] - places[b]);
  const result = [...places];
  order.forEach((i, rank) => {
    const floor = rank ? result[order[rank - 1]] + gap : low;
    result[i] = Math.max(places[i], floor);
  });
  order.reverse().forEach((i, rank) => {
    const ceiling = rank ? result[order[rank - 1]] - gap : high;
    result[i] = Math.min(result[i], ceiling);
  });
  return result;
}

// The round distance that puts at most `count` ticks between 0 and `end`.
export function tickStep(end, count) {
  const unit = 10 ** Math.floor(Math.log10(end / count));
  return unit * TICK_STEPS.find((step) => step * unit * count >= end * (1 - 1e-9));
}

const ticks = (end, step) => Array.from({ length: Math.floor(end / step + 1e-9) + 1 }, (_, i) => i * step);

// Where values lie in pixels: x from 0 to the end of the race, y from 0 to a round top.
function frameOf(laps, methods, width) {
  const values = laps.flatMap((lap) => methods.flatMap(({ name }) => [...(lap.train[name] ?? []), ...(lap.valid[name] ?? [])]));
  const highest = values.length ? Math.min(100, Math.max(1, ...values)) : 100, step = tickStep(highest, 4);
  const top = step * Math.ceil(highest / step - 1e-9);
  const end = Math.max(0, ...laps.map((lap) => lap.total));
  const right = 20 + 8 * Math.max(...methods.map(({ name }) => brief(name).length));
  const across = Math.max(60, width - LEFT - right), down = HEIGHT - TOP - BOTTOM;
  return {
    top, step, end, right: LEFT + across, bottom: TOP + down,
    x: (value) => LEFT + (value / (end || 1)) * across,
    y: (value) => TOP + down * (1 - value / top),
  };
}

function drawAxes(frame) {
  const parts = ticks(frame.top, frame.step).flatMap((value) => {
    const y = frame.y(value).toFixed(1);
    return [shape("path", { d: `M${LEFT} ${y}H${frame.right}`, class: value ? "nk-race-grid" : "nk-race-axis" }),
      shape("text", { x: LEFT - 6, y: Number(y) + 4, "text-anchor": "end", class: "nk-tick" }, fixed(value, Number.isInteger(frame.step) ? 0 : frame.step < 1 ? 2 : 1))];
  });
  for (const value of frame.end ? ticks(frame.end, tickStep(frame.end, frame.right < 420 ? 3 : 6)) : []) parts.push(
    shape("text", { x: frame.x(value).toFixed(1), y: frame.bottom + 16, "text-anchor": "middle", class: "nk-tick" }, images.format(value)));
  parts.push(shape("text", { x: LEFT, y: HEIGHT - 8, class: "nk-tick" }, "training images seen"));
  return parts;
}

function drawLap(lap, methods, frame, newest) {
  const size = newest ? STRONG : FAINT;
  return shape("g", { class: newest ? "nk-race-now" : "nk-race-past", "data-seed": lap.seed }, ...methods.flatMap((method) => {
    const line = lap.images.map((x, i) => `${frame.x(x).toFixed(1)} ${frame.y(lap.train[method.name][i]).toFixed(1)}`);
    const points = (lap.valid[method.name] ?? []).map((y, i) => marker(method.marker, frame.x(lap.ends[i]), frame.y(y), size));
    return [
      shape("path", { d: line.length ? `M${line.join("L")}` : "", stroke: method.colour, "stroke-dasharray": method.dasharray,
        class: "nk-race-line", "data-method": method.name }),
      shape("path", { d: points.join(""), fill: method.colour, class: "nk-race-points", "data-method": method.name }),
    ];
  }));
}

function drawLabels(lap, methods, frame) {
  const pointsLead = (lap.ends.at(-1) ?? 0) > (lap.images.at(-1) ?? 0);
  const furthest = pointsLead ? lap.valid : lap.train;
  const shown = methods.filter(({ name }) => furthest[name]?.length);
  const x = frame.x((pointsLead ? lap.ends : lap.images).at(-1) ?? 0) + (pointsLead ? STRONG + 1 : 1);
  const ends = shown.map(({ name }) => frame.y(furthest[name].at(-1)));
  const places = spreadApart(ends, LABEL_GAP, TOP, frame.bottom - 4);
  return shown.flatMap(({ name, colour }, i) => [
    shape("path", { d: `M${x} ${ends[i].toFixed(1)}L${x + 7} ${places[i].toFixed(1)}`, stroke: colour, class: "nk-race-lead" }),
    shape("text", { x: x + 10, y: (places[i] + 4).toFixed(1), class: "nk-race-name" }, brief(name)),
  ]);
}

export function createChart(methods) {
  const drawing = shape("g"), cursor = shape("path", { class: "nk-race-cursor" });
  const svg = shape("svg", { height: HEIGHT, role: "img", tabindex: 0, class: "nk-race-chart" }, cursor, drawing);
  svg.dataset.lmSuppressShortcuts = "true";
  const readout = label("p", { class: "nk-race-readout" });
  const root = h("div", { class: "nk-race-figure" }, svg, readout);
  let width = 0, last = null, frame = null, epoch = null;

  const values = (lap, i) => methods.filter(({ name }) => lap.valid[name]?.length > i)
    .map(({ name }) => `${name} ${fixed(lap.valid[name][i], 2)} %`).join(", ");

  // Without a choice the newest epoch is read, and stays so while the race goes on.
  function paintReadout() {
    const { laps, split } = last, lap = laps.at(-1), count = lap?.ends.length ?? 0;
    const i = epoch === null ? count - 1 : Math.min(epoch, count - 1);
    cursor.setAttribute("d", epoch === null || i < 0 ? "" : `M${frame.x(lap.ends[i]).toFixed(1)} ${TOP}V${frame.bottom}`);
    readout.show(i < 0 ? `No ${split} yet: it follows each epoch.` : `Seed ${lap.seed}, ${split} after epoch ${i + 1}: ${values(lap, i)}`);
    svg.setAttribute("aria-label", `Top-1 in percent over training images seen. ${readout.textContent}`);
  }

  function paint(laps, split) {
    last = { laps, split };
    if (!width) return;
    frame = frameOf(laps, methods, width);
    drawing.replaceChildren(...drawAxes(frame),
      ...laps.map((lap, i) => drawLap(lap, methods, frame, i === laps.length - 1)),
      ...(laps.length ? drawLabels(laps.at(-1), methods, frame) : []));
    paintReadout();
  }

  function choose(next) {
    const count = last?.laps.at(-1)?.ends.length ?? 0;
    epoch = next === null || !count ? null : Math.min(count - 1, Math.max(0, next));
    if (frame) paintReadout();
  }
  svg.addEventListener("pointermove", (event) => {
    const ends = last?.laps.at(-1)?.ends ?? [], at = event.clientX - svg.getBoundingClientRect().left;
    const away = ends.map((end) => Math.abs(frame.x(end) - at));
    choose(away.indexOf(Math.min(...away)));
  });
  svg.addEventListener("pointerleave", () => choose(null));
  svg.addEventListener("blur", () => choose(null));
  svg.addEventListener("keydown", (event) => {
    const newest = (last?.laps.at(-1)?.ends.length ?? 0) - 1, here = epoch ?? newest;
    const next = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: newest, Escape: null }[event.key];
    if (next === undefined) return;
    choose(next);
    event.preventDefault();
  });
  const observer = new ResizeObserver(() => {
    width = svg.clientWidth;
    if (last) paint(last.laps, last.split);
  });
  observer.observe(svg);
  return { root, paint, stop: () => observer.disconnect() };
}
