// The hero: two samples, one temperature. Neither Jupyter nor a page is assumed: `createHero` makes an element.
import { predictionSteps } from "./arithmetic.js";
import { createClassBars } from "./classbars.js";
import { fixed, frameGate, h, label } from "./dom.js";
import { bandStretch, createDial } from "./dial.js";
import { createDrawer } from "./drawer.js";
import { logSoftmax, std } from "./formulas.js";
import { createGauge } from "./gauge.js";
import { glide } from "./motion.js";
import { effectiveClasses, placeInBand, roundClasses, temperatureText } from "./softness.js";

const GLIDE = 250;
const INVITATION = "Drag the slider. Can you bring both gauges into the green band?";
const LESSON = "The temperature follows the spread of the sample’s own logits: T = T_norm · std.";

// What one sees, in words; screen readers get the same line.
export function heroSentence(state, samples, temperatures, band) {
  const found = samples.map(({ name, logits }, i) => {
    const classes = effectiveClasses(logits, temperatures[i]);
    return { name, classes, text: roundClasses(classes), place: placeInBand(classes, band), T: temperatureText(temperatures[i]) };
  });
  return state.mode === "own" ? ownSentence(state, found) : commonSentence(state, found);
}

function ownSentence({ T_norm }, [a, b]) {
  const both = a.place === "inside" && b.place === "inside" ? ": both are in the band." : ".";
  return `T_norm = ${temperatureText(T_norm)}: ${a.name} gets T = ${a.T} and means ${a.text} classes, ` +
    `${b.name} gets T = ${b.T} and means ${b.text}${both}`;
}

function commonSentence({ T }, found) {
  const start = `T = ${temperatureText(T)}: `, [few, many] = [...found].sort((x, y) => x.classes - y.classes);
  const said = {
    "below below": `${few.name} means ${few.text} classes and ${many.name} ${many.text}: both are too sharp.`,
    "below inside": `${many.name} means ${many.text} classes, in the band, but ${few.name} only ${few.text}.`,
    "below above": `${few.name} still means ${few.text} classes, ${many.name} already ${many.text}.`,
    "inside inside": `${few.name} means ${few.text} classes and ${many.name} ${many.text}: both are in the band.`,
    "inside above": `${few.name} means ${few.text} classes, in the band, but ${many.name} is nearly flat with ${many.text}.`,
    "above above": `${few.name} means ${few.text} classes and ${many.name} ${many.text}: little is left to learn from.`,
  };
  return start + said[`${few.place} ${many.place}`];
}

export function heroTemperatures(state, samples) {
  return samples.map(({ logits }) => (state.mode === "own" ? state.T_norm * std(logits) : state.T));
}

const stretchText = ([from, to]) => `from T = ${temperatureText(from)} to ${temperatureText(to)}`;

function createSampleView({ name, logits, picture, title }, { names, band, onPick }) {
  const order = Array.from(logits.keys()).sort((x, y) => logits[y] - logits[x] || x - y);
  const gauge = createGauge({ classes: logits.length, band, name });
  const bars = createClassBars({ names, order, title: `Softened prediction of ${name}`, onPick });
  const temperature = label("b");
  const root = h("figure", { class: "nk-hero-sample", "aria-label": title },
    h("figcaption", {}, picture, h("div", {}, h("b", {}, name),
      h("small", {}, "std ", h("span", { class: "nk-hero-more" }, "of its logits "), fixed(std(logits), 1)), h("small", { class: "nk-hero-own" }, "T = ", temperature))),
    bars.root, gauge.root);
  const paint = (T) => {
    const logProbs = logSoftmax(logits, T);
    bars.paint(logProbs.map(Math.exp));
    gauge.paint(effectiveClasses(logits, T));
    temperature.show(temperatureText(T));
  };
  return { root, paint, mark: bars.mark };
}

// setup: { samples: [{ name, title, logits, picture }], names, band, stops, tNormStops, title }; picture is an element.
// onChange hears of every new state, onRelease when the reader lets go.
export function createHero(setup, start, { onChange, onRelease } = {}) {
  const { samples, band, stops } = setup;
  const stretches = samples.map(({ logits }) => bandStretch(stops, (T) => effectiveClasses(logits, T), band));
  const spreads = samples.map(({ logits }) => std(logits)), between = Math.sqrt(spreads[0] * spreads[1]);
  const views = samples.map((sample, i) => createSampleView(sample, { ...setup, onPick: (c) => open(i, c) }));
  const drawer = createDrawer({ heads: ["value"], onClose: () => open(null) });
  const visited = samples.map(() => false);
  let state = { ...start }, shown = heroTemperatures(state, samples), picked = null, stopGlide = () => {};

  const dial = createDial({
    stops, tNormStops: setup.tNormStops, samples, stretches, middle: (T_norm) => T_norm * between,
    onInput: (value) => change({ [state.mode === "own" ? "T_norm" : "T"]: value }), onRelease: () => onRelease?.(state),
  });
  const line = label("p", { class: "nk-hero-line" }), hint = label("p", { class: "nk-hero-hint" });
  const button = label("button", { type: "button", class: "nk-button nk-hero-button", onclick: split });
  const root = h("div", { class: "nk nk-hero" }, h("h3", {}, setup.title),
    h("div", { class: "nk-hero-samples" }, ...views.map((view) => view.root)),
    dial.root, h("div", { class: "nk-hero-foot" }, h("div", {}, line, hint), button), drawer.root);

  function change(part) {
    stopGlide();
    state = { ...state, ...part };
    shown = heroTemperatures(state, samples);
    repaint();
    onChange?.(state);
  }

  function split() {
    const from = shown;
    stopGlide();
    state = { ...state, mode: state.mode === "own" ? "one" : "own" };
    const to = heroTemperatures(state, samples);
    // Only a press of the button is announced: while the slider moves, its own value text is read.
    line.setAttribute("aria-live", "polite");
    stopGlide = glide(GLIDE, (part) => {
      shown = from.map((T, i) => T * (to[i] / T) ** part);
      repaint();
    });
    onChange?.(state);
    onRelease?.(state);
  }

  // The bar of class c of sample i, taken apart below; null closes the drawer.
  function open(i, c) {
    picked = i === null ? null : { i, c };
    views.forEach((view, k) => view.mark(k === i ? c : null));
    repaint();
  }

  function paintDrawer() {
    drawer.open(Boolean(picked));
    if (!picked) return;
    const { i, c } = picked, { name, logits } = samples[i];
    drawer.paint(`How ${name} comes by its ${setup.names[c]}`, predictionSteps(logits, shown[i], c));
  }

  function hintText() {
    if (state.mode === "own") return LESSON;
    if (!visited.every(Boolean) || !stretches.every(Boolean)) return INVITATION;
    const [a, b] = samples.map(({ name }, i) => `${name} is in the band ${stretchText(stretches[i])}`);
    return `No single T does it: ${b}, ${a}.`;
  }

  function paint() {
    const own = state.mode === "own", sentence = heroSentence(state, samples, heroTemperatures(state, samples), band);
    samples.forEach(({ logits }, i) => {
      visited[i] ||= own || placeInBand(effectiveClasses(logits, shown[i]), band) === "inside";
      if (visited[i]) dial.reveal(i);
      views[i].paint(shown[i]);
    });
    button.show(own ? "Back to one T" : "Give each its own T");
    line.show(sentence);
    hint.show(hintText());
    dial.paint(state, shown, sentence);
    paintDrawer();
    root.dataset.mode = state.mode;
  }
  const repaint = frameGate(paint);
  dial.root.addEventListener("input", () => line.removeAttribute("aria-live"));

  // From outside: no glide and no report.
  function show(next) {
    if (Object.keys(next).every((key) => next[key] === state[key])) return;
    stopGlide();
    state = { ...state, ...next };
    shown = heroTemperatures(state, samples);
    repaint();
  }
  repaint();
  return { root, show, stop: () => stopGlide() };
}
