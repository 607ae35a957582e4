// The Softening Explorer: one state drives every panel. A slider step is computed and painted here, in the
// browser; the kernel hears of it when the slider is released.
import { createCard, endsOf } from "./card.js";
import { choice, fixed, frameGate, h, hide, label, percent, slider } from "./dom.js";
import { createHistogram } from "./histogram.js";
import { readSamples } from "./samples.js";
import { createStrip } from "./strip.js";

const CHOICES = {
  classes: {
    name: "Classes",
    options: { top: ["Top 10", "the teacher's ten likeliest classes"], all: ["All classes", "every class"] },
  },
  show: {
    name: "Bars",
    options: {
      probabilities: ["Probabilities", "softened predictions"],
      gradients: ["Gradients", "d(weight · KL)/d(student logit): descent moves a logit against its bar"],
    },
  },
  scale: {
    name: "Scale",
    options: {
      fit: ["Fit", "each column to its own bars"], same: ["Same", "one linear axis"], log: ["Log", "six decades"],
    },
  },
};

// The line of Python that brings this view back; `as_code` writes the same one.
function pythonLine(state) {
  const value = (key) => {
    const own = state[key];
    if (key === "T" || key === "T_norm") return Number.isInteger(own) ? own.toFixed(1) : `${own}`;
    return own === null ? "None" : JSON.stringify(own);
  };
  return `explorer.state = {${Object.keys(state).map((key) => `"${key}": ${value(key)}`).join(", ")}}`;
}

function insight({ T, T_norm }, a, b) {
  const top = (card, method) => percent(card.results[method].probsT[card.sample.topT]);
  const own = (card) => fixed(card.results.normkd.temperatureT);
  const classes = a.sample.order.length;
  if (!b) return `KD reads every sample with T ${fixed(T)}. NormKD gives this one ${fixed(T_norm)} × std ` +
    `${fixed(a.sample.stdT)} = ${own(a)}. Pin it as B, choose another, and look for one T that suits both.`;
  return `KD, T ${fixed(T)} for both: the teacher's first class keeps ${top(a, "kd")} in A and ${top(b, "kd")} in B. ` +
    `NormKD, T ${own(a)} and ${own(b)}: ${top(a, "normkd")} and ${top(b, "normkd")}. ` +
    `An even spread over all ${classes} classes would be ${fixed(100 / classes, 1)} %.`;
}

function createColours(root) {
  let colours = null;
  const read = () => {
    const style = getComputedStyle(root), of = (name) => style.getPropertyValue(name).trim();
    colours = { ink: style.color, muted: of("--nk-muted"), line: of("--nk-line"), teacher: of("--nk-teacher"),
      student: of("--nk-student"), font: style.fontFamily };
  };
  return { get: () => colours ?? (read(), colours), forget: () => (colours = null) };
}

function createControls(change, save, limits) {
  const make = (key, name, hint) => slider({
    name, hint, key, min: limits[key][0], max: limits[key][1], step: limits[key][2],
    onInput: (value) => change({ [key]: value }), onRelease: save,
  });
  const parts = {
    T: make("T", "T", "KD's temperature, one for all"),
    T_norm: make("T_norm", "T_norm", "NormKD's factor of the std"),
  };
  for (const [key, { name, options }] of Object.entries(CHOICES))
    parts[key] = choice({ name, key, options, onChange: (value) => change({ [key]: value }, true) });
  const root = h("section", { class: "nk-controls" }, parts.T, parts.T_norm,
    h("div", { class: "nk-choices" }, parts.show, parts.classes, parts.scale));
  const paint = (state) => Object.keys(parts).forEach((key) => parts[key].show(state[key]));
  return { root, paint };
}

function createLegend() {
  return h("p", { class: "nk-legend" }, h("i", { class: "nk-key nk-teacher" }), "teacher, filled",
    h("i", { class: "nk-key nk-student" }), "student, striped",
    h("span", {}, "beside a class: true = label, t and s = first choice of teacher and student"));
}

function render({ model, el }) {
  const data = readSamples(model), root = h("div", { class: "nk nk-softening" }), colours = createColours(root);
  let state = { ...model.get("state") };
  const save = () => {
    model.set("state", { ...state });
    model.save_changes();
  };
  const change = (part, atOnce = false) => {
    state = { ...state, ...part };
    repaint();
    if (atOnce) save();
  };
  const pin = (sample) => change({ pinned: sample === state.pinned ? null : sample }, true);
  const button = (text, act, name) =>
    h("button", { type: "button", class: "nk-button", onclick: act, "aria-label": name }, text);
  const pinButton = button("Pin as B", () => pin(state.sample), "Pin this sample as B");
  const cardA = createCard(data, "A", [pinButton], colours.get);
  const cardB = createCard(data, "B", [
    button("Swap", () => change({ sample: state.pinned, pinned: state.sample }, true), "Swap A and B"),
    button("Unpin", () => change({ pinned: null }, true), "Unpin sample B"),
  ], colours.get);
  const strip = createStrip(data, {
    state: () => state, onPin: pin,
    onSelect: (sample) => change({ sample }, true), onSort: (sort) => change({ sort }, true),
  });
  const controls = createControls(change, save, model.get("_setup").limits);
  const histogram = createHistogram(data), sentence = label("p", { class: "nk-insight" });
  const code = label("code", { "aria-label": "Python code of this view" });

  function paint() {
    const a = cardA.compute(data.list[state.sample], state);
    const b = state.pinned === null ? null : cardB.compute(data.list[state.pinned], state);
    const shown = b ? [a, b] : [a];
    const ends = shown.map(({ columns, sample }) => endsOf(columns, sample.order, state));
    const shared = state.scale === "fit" ? null : ends[0].map(() => Math.max(...ends.flat()));
    strip.paint(state);
    controls.paint(state);
    histogram.paint(state, a.sample, b?.sample);
    sentence.show(insight(state, a, b));
    cardA.paint(a, shared ?? ends[0], state);
    hide(cardB.root, !b);
    if (b) cardB.paint(b, shared ?? ends[1], state);
    code.show(pythonLine(state));
  }
  const repaint = frameGate(paint);
  const fromPython = () => {
    state = { ...model.get("state") };
    repaint();
  };
  const themes = new MutationObserver(() => {
    colours.forget();
    [cardA, cardB].forEach((card) => card.restart());
  });

  root.append(strip.root, controls.root, histogram.root, sentence, createLegend(),
    h("div", { class: "nk-cards" }, cardA.root, cardB.root), h("footer", {}, h("div", {}, code),
      button("Copy", () => navigator.clipboard?.writeText(code.textContent), "Copy the Python code")));
  el.append(root);
  model.on("change:state", fromPython);
  themes.observe(document.body, { attributes: true });
  repaint();
  return () => {
    model.off("change:state", fromPython);
    themes.disconnect();
    [histogram, cardA, cardB].forEach((part) => part.stop());
    URL.revokeObjectURL(data.url);
  };
}

export default { render };
