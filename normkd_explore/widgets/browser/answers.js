// The answers explorer: how many digits and how many classes a black box shows, and what NormKD makes of that.
import { float32Rows, pictureUrl } from "./bytes.js";
import { choice, fixed, frameGate, h, label, percent, short, slider } from "./dom.js";
import { seen } from "./answersmath.js";

const REMEDIES = {
  epsilon: ["1e-8", "hidden classes get log 1e-8"],
  floor: ["floor", "hidden classes get the most that can be hidden"],
  fit: ["fit", "hidden classes get the mean of a normal tail fitted to those that are shown"],
};
const STEPS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1, Home: -Infinity, End: Infinity };

function readAnswers(model) {
  const setup = model.get("_setup"), count = setup.labels.length;
  return { ...setup, count, logits: float32Rows(model.get("_logits"), count), url: pictureUrl(model.get("_sprite")) };
}

function showPart(node, data, n) {
  const rows = Math.ceil(data.count / data.columns), place = (i, all) => (all > 1 ? (100 * i) / (all - 1) : 0);
  node.style.backgroundImage = `url(${data.url})`;
  node.style.backgroundSize = `${100 * data.columns}% ${100 * rows}%`;
  node.style.backgroundPosition =
    `${place(n % data.columns, data.columns)}% ${place(Math.floor(n / data.columns), rows)}%`;
}

// Classes from the likeliest to the least, each with a bar of the truth and one of what is visible.
function createBars(data) {
  const columns = data.class_names.map(() => {
    const truth = h("i", { class: "nk-bb-truth" }), visible = h("i", { class: "nk-bb-visible" });
    return { truth, visible, root: h("span", {}, truth, visible) };
  });
  const first = label("span"), last = label("span"), top = label("small");
  const root = h("section", { class: "nk-bb-chart" }, h("header", {}, h("h3", {}, "Softened prediction"),
    h("span", { class: "nk-bb-legend" }, h("u", { class: "nk-bb-truth" }), h("small", {}, "from the logits"),
      h("u", { class: "nk-bb-visible" }), h("small", {}, "from the answer"),
      h("u", { class: "nk-bb-visible nk-bb-hidden" }), h("small", {}, "class not shown")), top),
    h("div", { class: "nk-bb-bars", role: "img", "aria-label": "Softened prediction, class by class" },
      ...columns.map(({ root: node }) => node)),
    h("div", { class: "nk-bb-axis", "aria-hidden": "true" }, first, last));
  const paint = (found, logits) => {
    const order = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a] || a - b);
    const largest = Math.max(...found.t, ...found.v);
    columns.forEach(({ truth, visible, root: node }, r) => {
      const c = order[r];
      truth.style.transform = `scaleY(${(found.t[c] / largest).toFixed(4)})`;
      visible.style.transform = `scaleY(${(found.v[c] / largest).toFixed(4)})`;
      node.classList.toggle("nk-bb-hidden", found.answer[c] === 0);
      node.title = `${data.class_names[c]}: ${short(found.t[c])} from the logits, ${short(found.v[c])} visible`;
    });
    top.show(`highest bar: ${percent(largest)}`);
    first.show(`likeliest: ${data.class_names[order[0]]}`);
    last.show(`least: ${data.class_names[order[order.length - 1]]}`);
  };
  return { root, paint };
}

function createTemperatures() {
  const row = (title, className, key) => {
    const bar = h("i", { class: className }), value = label("b", { "data-value": key });
    return { bar, value, root: h("div", {}, h("span", {}, title), h("span", { class: "nk-bb-track" }, bar), value) };
  };
  const rows = [row("from the logits", "nk-bb-truth", "true"), row("from the answer", "nk-bb-visible", "visible")];
  const kl = label("b", { "data-value": "kl" });
  const root = h("section", { class: "nk-bb-temperatures" }, h("header", {}, h("h3", {}, "NormKD's temperature"),
    h("small", {}, "2 · std")), ...rows.map(({ root: node }) => node),
    h("p", {}, "KL between the two softened predictions: ", kl, " nats"));
  const paint = (found) => {
    const values = [found.true, found.visible], most = Math.max(1.5 * found.true, found.visible);
    rows.forEach(({ bar, value }, i) => {
      bar.style.transform = `scaleX(${(values[i] / most).toFixed(4)})`;
      value.show(fixed(values[i]));
    });
    kl.show(fixed(found.kl, 3));
  };
  return { root, paint };
}

function createStrip(data, state, onSelect) {
  const tiles = data.labels.map((y, n) => {
    const tile = h("div", { role: "option", tabindex: -1, class: "nk-bb-tile", "data-sample": n,
      "aria-label": `Picture ${n}, ${data.class_names[y]}`, onclick: () => onSelect(n) });
    showPart(tile, data, n);
    return tile;
  });
  const walk = (event) => {
    if (!(event.key in STEPS)) return;
    const next = Math.min(data.count - 1, Math.max(0, state().sample + STEPS[event.key]));
    onSelect(next);
    tiles[next].focus({ preventScroll: true });
    event.preventDefault();
  };
  const list = h("div", { class: "nk-bb-strip", role: "listbox", "aria-label": "Pictures", onkeydown: walk }, ...tiles);
  const paint = ({ sample }) => tiles.forEach((tile, n) => {
    tile.setAttribute("aria-selected", String(n === sample));
    tile.tabIndex = n === sample ? 0 : -1;
  });
  const root = h("section", {}, h("header", {}, h("h3", {}, "Pictures"),
    h("small", { class: "nk-hint" }, "click one or walk with the arrow keys")), list);
  return { root, paint };
}

// The last step of the slider of digits stands for all of them.
function createControls(data, change, save) {
  const all = data.most + 1, classes = data.class_names.length;
  const digits = slider({
    name: "digits", hint: `${all}: all`, key: "digits", min: 1, max: all, step: 1,
    onInput: (value) => change({ digits: value === all ? null : value }), onRelease: save,
  });
  const kept = slider({
    name: "K", hint: "largest classes shown", key: "kept", min: 1, max: classes, step: 1,
    onInput: (value) => change({ kept: value }), onRelease: save,
  });
  const remedy = choice({
    name: "What hidden classes get", key: "remedy", options: REMEDIES,
    onChange: (value) => change({ remedy: value }, true),
  });
  const root = h("section", { class: "nk-bb-controls" }, digits, kept,
    h("span", {}, h("small", {}, "hidden classes get"), remedy));
  const paint = (state) => {
    digits.show(state.digits ?? all);
    kept.show(state.kept);
    remedy.show(state.remedy);
  };
  return { root, paint };
}

function claimOf(data, state, found) {
  const classes = data.class_names.length;
  if (found.shown === classes) return "Every class is shown: the answer gives NormKD its temperature exactly or nearly.";
  const apart = (100 * (found.visible - found.true)) / found.true;
  const way = apart < 0 ? "too low" : "too high";
  return `${found.shown} of ${classes} classes are shown: the temperature is ${fixed(Math.abs(apart), 0)} % ${way}.`;
}

function render({ model, el }) {
  const data = readAnswers(model);
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
  const controls = createControls(data, change, save), bars = createBars(data), temperatures = createTemperatures();
  const strip = createStrip(data, () => state, (sample) => change({ sample }, true));
  const portrait = h("span", { class: "nk-portrait nk-bb-portrait" }), claim = label("p", { class: "nk-bb-claim" });
  const said = label("p", { class: "nk-bb-said" });

  function paint() {
    const logits = data.logits[state.sample], found = seen(logits, state, data.scores);
    controls.paint(state);
    showPart(portrait, data, state.sample);
    claim.show(claimOf(data, state, found));
    const top = Math.max(...found.answer), name = data.class_names[found.answer.indexOf(top)];
    said.show(found.shown ? `The black box says: ${name}, ${short(top)}.` : "The black box says 0 to every class.");
    bars.paint(found, logits);
    temperatures.paint(found);
    strip.paint(state);
  }
  const repaint = frameGate(paint);
  const fromPython = () => {
    state = { ...model.get("state") };
    repaint();
  };
  el.append(h("div", { class: "nk nk-bb" }, controls.root,
    h("section", { class: "nk-bb-head" }, portrait, h("div", {}, claim, said)),
    h("div", { class: "nk-bb-panels" }, bars.root, temperatures.root), strip.root));
  model.on("change:state", fromPython);
  repaint();
  return () => {
    model.off("change:state", fromPython);
    URL.revokeObjectURL(data.url);
  };
}

export default { render };
