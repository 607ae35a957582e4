// The recorded race, replayed: top-1 over training images seen, a clip that opens with the scrubber, seeds as faint lines.
import { fixed, frameGate, h, label } from "./dom.js";
import { createKnob, createSwitch } from "./knob.js";
import { glide, wantsStill } from "./motion.js";
import { shape, spreadApart, tickStep } from "./racechart.js";

const REPLAY = { height: 320, left: 40, right: 132, top: 12, bottom: 44, points: 240, milliseconds: 7000 };
const HEATS = {
  published: ["published weights", ["ce", "kd", "normkd"]],
  kd: ["KD with NormKD’s step size", ["kd:kd_weight=4.33", "normkd"]],
  normkd: ["NormKD with KD’s step size", ["kd", "normkd:kd_weight=0.1869"]],
};

const valueAt = (lap, key, images) => {
  const xs = lap.images, i = xs.findIndex((x) => x >= images);
  if (i === 0) return lap.train[key][0];
  if (i < 0) return lap.train[key].at(-1);
  return lap.train[key][i - 1] + ((images - xs[i - 1]) / (xs[i] - xs[i - 1])) * (lap.train[key][i] - lap.train[key][i - 1]);
};
const meanOf = (values) => values.reduce((a, b) => a + b, 0) / values.length;

export function createReplay({ race: { laps, racers } }) {
  const end = Math.min(...laps.map((lap) => lap.images.at(-1))), stops = Array.from({ length: REPLAY.points + 1 }, (_, i) => Math.round((end * i) / REPLAY.points));
  const highest = Math.max(...laps.flatMap((lap) => Object.values(lap.train).flat())), step = tickStep(highest, 4), top = step * Math.ceil(highest / step);
  let state = { heat: "published", at: end }, stopGlide = null, width = 0;
  const clipId = `nk-replay-${Math.random().toString(36).slice(2)}`, opening = shape("rect", { x: 0, y: 0, height: REPLAY.height });
  const lines = shape("g", { "clip-path": `url(#${clipId})` }), axes = shape("g"), marks = shape("g");
  const plot = shape("svg", { height: REPLAY.height, role: "img", class: "nk-replay-plot" }, shape("clipPath", { id: clipId }, opening), axes, lines, marks);
  const say = label("p", { class: "nk-say" });
  const heat = createSwitch({ name: "Racers", options: Object.fromEntries(Object.entries(HEATS).map(([key, [name]]) => [key, name])), onChange: (value) => {
    change({ heat: value });
    if (!wantsStill()) play();
  } });
  const scrub = createKnob({ name: "training images seen", key: "replay", values: stops, text: (value) => value.toLocaleString("en"), onInput: (value) => {
    stop();
    change({ at: value });
  } });
  const button = h("button", { type: "button", class: "nk-button nk-play", onclick: () => (stopGlide ? stop() : play()) }, "▶ Play");

  function change(part) {
    state = { ...state, ...part };
    repaint();
  }
  function stop() {
    stopGlide?.();
    stopGlide = null;
    button.textContent = "▶ Play";
  }
  function play() {
    stop();
    if (wantsStill()) return change({ at: end });
    button.textContent = "■ Stop";
    stopGlide = glide(REPLAY.milliseconds, (share) => {
      change({ at: stops[Math.round(share * REPLAY.points)] });
      if (share === 1) stop();
    }, (share) => share);
  }

  const x = (images) => REPLAY.left + ((width - REPLAY.left - REPLAY.right) * images) / end;
  const y = (value) => REPLAY.top + (REPLAY.height - REPLAY.top - REPLAY.bottom) * (1 - value / top);
  const running = () => racers.filter(({ key }) => HEATS[state.heat][1].includes(key));

  function drawAxes() {
    const text = (place, words, anchor) => shape("text", { ...place, "text-anchor": anchor, class: "nk-tick" }, words);
    const parts = [];
    for (let value = 0; value <= top; value += step) parts.push(
      shape("path", { d: `M${REPLAY.left} ${y(value)}H${x(end)}`, class: value ? "nk-race-grid" : "nk-race-axis" }),
      text({ x: REPLAY.left - 6, y: y(value) + 4 }, fixed(value, 0), "end"));
    for (const epoch of laps[0].ends.filter((seen) => seen <= end)) parts.push(text({ x: x(epoch), y: y(0) + 18 }, epoch.toLocaleString("en"), "middle"));
    parts.push(text({ x: REPLAY.left, y: REPLAY.height - 6 }, "training images seen; right answers on them, %", "start"));
    axes.replaceChildren(...parts);
  }

  function drawLines() {
    lines.replaceChildren(...running().flatMap(({ key, colour, dasharray }) => {
      const path = (points, extra) => shape("path", { d: `M${points.join("L")}`, stroke: colour, class: "nk-race-line", ...extra });
      const line = (lap) => lap.images.map((seen, i) => `${x(seen).toFixed(1)} ${y(lap.train[key][i]).toFixed(1)}`);
      const middle = laps[0].images.map((seen) => `${x(seen).toFixed(1)} ${y(meanOf(laps.map((lap) => valueAt(lap, key, seen)))).toFixed(1)}`);
      return [...laps.map((lap) => path(line(lap), { opacity: 0.35, "stroke-width": 1 })), path(middle, { "stroke-dasharray": dasharray, class: "nk-race-line nk-replay-mean", "data-racer": key })];
    }));
  }

  function paintMarks() {
    const shown = running().map((racer) => ({ ...racer, value: meanOf(laps.map((lap) => valueAt(lap, racer.key, state.at))) }));
    const places = spreadApart(shown.map(({ value }) => y(value)), 17, REPLAY.top + 4, y(0));
    marks.replaceChildren(...shown.flatMap(({ name, colour, value }, i) => [
      shape("circle", { cx: x(state.at), cy: y(value), r: 4.5, fill: colour }),
      shape("text", { x: x(state.at) + 10, y: places[i] + 4, class: "nk-race-name" }, `${name} ${fixed(value, 0)} %`)]));
    const ahead = [...shown].sort((a, b) => b.value - a.value);
    say.show(state.at < laps[0].images[0] ? "At the start." : `After ${state.at.toLocaleString("en")} images: ` +
      `${ahead.map(({ name, value }) => `${name} ${fixed(value, 0)} %`).join(", ")}.`);
    plot.setAttribute("aria-label", `Right answers on training images, mean of ${laps.length} seeds. ${say.textContent}`);
  }

  let drawn = "";
  const repaint = frameGate(() => {
    if (!width) return;
    heat.show(state.heat);
    scrub.show(state.at);
    if (drawn !== `${width} ${state.heat}`) {
      drawn = `${width} ${state.heat}`;
      drawAxes();
      drawLines();
    }
    opening.setAttribute("width", x(state.at));
    paintMarks();
  });
  new ResizeObserver(() => {
    width = plot.clientWidth;
    repaint();
  }).observe(plot);
  return h("div", { class: "nk nk-front nk-replay" }, heat.root, h("div", { class: "nk-beside" }, button, h("div", { class: "nk-grow" }, scrub.root)), say, plot);
}
