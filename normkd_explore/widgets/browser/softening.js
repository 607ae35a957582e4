// The Softening Explorer: one state drives every panel. A slider step is computed and painted here, in the
// browser; the kernel hears of it when the slider is released.
import { createCard, endsOf } from "./card.js";
import { createChoices, createTie } from "./controls.js";
import { createCurves } from "./curves.js";
import { fixed, frameGate, h, hide, label } from "./dom.js";
import { createHistogram } from "./histogram.js";
import { followAddress } from "./links.js";
import { createMatrix } from "./matrix.js";
import { createMedians } from "./medians.js";
import { createPlayer } from "./player.js";
import { readSamples } from "./samples.js";
import { placeInBand, roundClasses, temperatureText } from "./softness.js";
import { createStrip } from "./strip.js";

// Three columns of bars need this many pixels, half of it where one card has the whole width.
const WIDE = 1000;

// The line of Python that brings this view back; `as_code` writes the same one.
function pythonLine(state) {
  const value = (key) => {
    const own = state[key];
    if (key === "T" || key === "T_norm") return Number.isInteger(own) ? own.toFixed(1) : `${own}`;
    if (typeof own === "boolean") return own ? "True" : "False";
    return own === null ? "None" : JSON.stringify(own);
  };
  return `explorer.state = {${Object.keys(state).map((key) => `"${key}": ${value(key)}`).join(", ")}}`;
}

function insight({ T, T_norm }, a, b, band) {
  const classes = (card, method) => roundClasses(card.results[method].classesT);
  const own = (card) => temperatureText(card.results.normkd.temperatureT);
  if (!b) return `KD reads every sample with T = ${temperatureText(T)} and leaves this one ${classes(a, "kd")} classes. NormKD gives it ` +
    `T = ${temperatureText(T_norm)} · ${fixed(a.sample.stdT)} = ${own(a)}: ${classes(a, "normkd")} classes. Pin it as B and choose another.`;
  const inside = (card) => placeInBand(card.results.kd.classesT, band) === "inside";
  const verdict = inside(a) && inside(b) ? "both in the band." : inside(a) || inside(b) ? "only one in the band." : "neither in the band.";
  return `KD, one T = ${temperatureText(T)}: A means ${classes(a, "kd")} classes and B ${classes(b, "kd")}, ${verdict} ` +
    `NormKD, T = ${own(a)} for A and ${own(b)} for B: ${classes(a, "normkd")} and ${classes(b, "normkd")} classes.`;
}

function createColours(root) {
  let colours = null;
  const read = () => {
    const style = getComputedStyle(root), of = (name) => style.getPropertyValue(name).trim();
    colours = { ink: style.color, muted: of("--nk-muted-plain"), line: of("--nk-line"), teacher: of("--nk-teacher"),
      student: of("--nk-student"), font: style.fontFamily };
  };
  return { get: () => colours ?? (read(), colours), forget: () => (colours = null) };
}

function createLegend() {
  return h("p", { class: "nk-legend" }, h("i", { class: "nk-key nk-teacher" }), "teacher, filled",
    h("i", { class: "nk-key nk-student" }), "student, striped",
    h("span", {}, "true: label · t, s: first choice of teacher and student · click a bar or a number for its arithmetic"));
}

const button = (text, act, name) => h("button", { type: "button", class: "nk-button", onclick: act, "aria-label": name, title: name }, text);

// A button that says for a moment that it did what it says.
function copyButton(text, name, content) {
  const node = button(text, () => {
    navigator.clipboard?.writeText(content());
    node.textContent = "Copied";
    setTimeout(() => (node.textContent = text), 1500);
  }, name);
  return node;
}

// What a link may set: keys that the state has, with values that Python would take.
const acceptor = ({ limits, choices, labels }) => (key, value) => {
  if (key in limits) return typeof value === "number" && limits[key][0] <= value && value <= limits[key][1];
  if (key in choices) return choices[key].includes(value);
  if (key === "pinned" && value === null) return true;
  return (key === "sample" || key === "pinned") && Number.isInteger(value) && 0 <= value && value < labels.length;
};

function render({ model, el }) {
  const setup = model.get("_setup"), { limits, band } = setup, data = readSamples(model), address = followAddress(setup, acceptor(setup));
  const root = h("div", { class: "nk nk-softening" }), colours = createColours(root), medians = createMedians(setup.medians);
  let state = { ...model.get("state") }, isWide = false, drawnTo = Infinity;

  const save = () => {
    model.set("state", { ...state });
    model.save_changes();
    address.write(state);
  };
  const change = (part, atOnce = false) => {
    state = { ...state, ...part };
    repaint();
    if (atOnce) save();
  };
  const choose = (part) => change(part, true);
  const round = (key, value) => Number(Math.min(limits[key][1], Math.max(limits[key][0], value)).toFixed(2));
  // With the tie, the other method's slider follows so that both leave the median sample equally soft.
  const turn = (key, value) => {
    const other = key === "T" ? { T_norm: round("T_norm", medians.matchTNorm(value)) } : { T: round("T", medians.matchT(value)) };
    change({ [key]: value, ...(state.tie ? other : {}) });
  };
  const pin = (sample) => choose({ pinned: sample === state.pinned ? null : sample });
  const repaint = frameGate(() => paint());
  const parts = { getColours: colours.get, repaint };
  const cards = {
    A: createCard(data, "A", { ...parts, buttons: [button("Pin as B", () => pin(state.sample), "Pin this sample as B")] }),
    B: createCard(data, "B", { ...parts, buttons: [
      button("⇄", () => choose({ sample: state.pinned, pinned: state.sample }), "Swap A and B"),
      button("✕", () => choose({ pinned: null }), "Unpin sample B"),
    ] }),
  };
  const strip = createStrip(data, { state: () => state, onPin: pin, onSelect: (sample) => choose({ sample }), onSort: (sort) => choose({ sort }) });
  const curves = createCurves({ classes: data.names.length, band });
  const matrix = createMatrix(data, {
    limits, band, onInput: turn, onRelease: save, onPick: (method, letter) => cards[letter].open({ method }),
  });
  let before = null;
  const player = createPlayer({
    onSweep: (T) => {
      before ??= { T: state.T, T_norm: state.T_norm };
      drawnTo = T;
      turn("T", round("T", T));
    },
    onEnd: () => {
      drawnTo = Infinity;
      change(before ?? {});
      before = null;
    },
  });
  const choices = createChoices(choose), tie = createTie((on) => choose({ tie: on }));
  const histogram = createHistogram(data), sentence = label("p", { class: "nk-insight" }), median = label("small", { class: "nk-median" });
  const code = label("code", { "aria-label": "Python code of this view" });

  function paint() {
    const a = cards.A.compute(data.list[state.sample], state, isWide);
    const b = state.pinned === null ? null : cards.B.compute(data.list[state.pinned], state, isWide);
    const shown = b ? [a, b] : [a];
    const ends = shown.map(({ columns, sample }) => endsOf(columns, sample.order, state));
    const shared = state.scale === "fit" ? null : ends[0].map(() => Math.max(...ends.flat()));
    strip.paint(state);
    choices.paint(state);
    tie.paint(state.tie);
    matrix.paint(state, a, b);
    curves.paint(state, shown.map(({ sample }) => ({ ...sample, name: data.names[sample.label] })), drawnTo);
    histogram.paint(state, a.sample, b?.sample);
    sentence.show(insight(state, a, b, band));
    median.show(`median of ${medians.samples} images: KD ${roundClasses(medians.kd(state.T))}, NormKD ${roundClasses(medians.normkd(state.T_norm))} classes`);
    cards.A.paint(a, shared ?? ends[0], state);
    hide(cards.B.root, !b);
    if (b) cards.B.paint(b, shared ?? ends[1], state);
    code.show(pythonLine(state));
  }
  const fromPython = () => {
    state = { ...model.get("state") };
    repaint();
  };
  const themes = new MutationObserver(() => {
    colours.forget();
    Object.values(cards).forEach((card) => card.restart());
  });
  const sizes = new ResizeObserver(() => {
    const next = root.clientWidth >= (state.pinned === null ? WIDE / 2 : WIDE);
    if (next === isWide) return;
    isWide = next;
    repaint();
  });

  root.append(strip.root,
    h("section", { class: "nk-story" }, h("div", { class: "nk-told" }, sentence,
      h("div", { class: "nk-actions" }, player.button, copyButton("Copy link", "Copy a link to this view", () => address.text(state)))), curves.root),
    matrix.root, h("section", { class: "nk-bar-choices" }, h("div", { class: "nk-tied" }, tie.root, h("div", {}, median)), choices.root), createLegend(),
    h("div", { class: "nk-cards" }, cards.A.root, cards.B.root), histogram.root, h("footer", {}, h("div", {}, code),
      copyButton("Copy", "Copy the Python code", () => code.textContent)));
  el.append(root);
  model.on("change:state", fromPython);
  themes.observe(document.body, { attributes: true });
  sizes.observe(root);
  const linked = address.read();
  if (linked) choose(linked);
  else repaint();
  return () => {
    model.off("change:state", fromPython);
    player.stop();
    themes.disconnect();
    sizes.disconnect();
    [histogram, curves, cards.A, cards.B].forEach((part) => part.stop());
    URL.revokeObjectURL(data.url);
  };
}

export default { render };
