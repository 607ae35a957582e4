// The comparison that the explorer is for: a row a method, with its slider, and a column a sample, with its gauge.
import { fixed, h, label, slider } from "./dom.js";
import { createGauge } from "./gauge.js";
import { showPicture } from "./samples.js";
import { temperatureText } from "./softness.js";

const ROWS = {
  kd: { key: "T", name: "KD", hint: "one for all" },
  normkd: { key: "T_norm", name: "NormKD", hint: "× own std" },
};

function createHead(data, letter) {
  const picture = h("span", { class: "nk-matrix-picture", "aria-hidden": "true" }), name = label("b"), std = label("small");
  const root = h("div", { class: `nk-matrix-head nk-matrix-${letter.toLowerCase()}` }, picture, h("div", {}, name, std));
  const paint = (sample) => {
    showPicture(picture, data, sample.index);
    name.show(`${letter} · ${data.names[sample.label]}`);
    std.show(`std ${fixed(sample.stdT, 1)}`);
  };
  return { root, paint };
}

// Pressing it opens the arithmetic behind its number.
function createCell(method, letter, gaugeSetup, onPick) {
  const gauge = createGauge({ ...gaugeSetup, name: `${ROWS[method].name}, sample ${letter}` });
  const temperature = label("span", { class: "nk-matrix-t" });
  const root = h("div", {
    class: `nk-matrix-cell nk-matrix-${letter.toLowerCase()}`, role: "button", tabindex: 0, "data-cell": `${method}.${letter.toLowerCase()}`,
    "aria-label": `The arithmetic of ${ROWS[method].name} for sample ${letter}`, onclick: () => onPick(method, letter),
    onkeydown: (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      onPick(method, letter);
      event.preventDefault();
    },
  }, gauge.root, h("div", { class: "nk-matrix-note" }, temperature));
  const paint = (view) => {
    gauge.paint(view.classesT);
    temperature.show(`T ${temperatureText(view.temperatureT)}`);
  };
  return { root, paint };
}

export function createMatrix(data, { limits, band, onInput, onRelease, onPick }) {
  const gauge = { classes: data.names.length, band };
  const heads = { a: createHead(data, "A"), b: createHead(data, "B") };
  const none = h("p", { class: "nk-matrix-none" }, "Pin a second sample as B to compare.");
  const rows = Object.entries(ROWS).map(([method, { key, name, hint }]) => {
    const [min, max, step] = limits[key];
    const control = slider({ name: `${name}: ${key}`, hint, key, min, max, step, onInput: (value) => onInput(key, value), onRelease });
    const cells = { a: createCell(method, "A", gauge, onPick), b: createCell(method, "B", gauge, onPick) };
    return { method, key, control, cells };
  });
  const root = h("section", { class: "nk-matrix", "aria-label": "Methods and samples" },
    h("div", { class: "nk-matrix-corner" }, h("b", {}, "Effective classes"), h("small", {}, "of the teacher’s softened prediction")),
    heads.a.root, heads.b.root, none,
    ...rows.flatMap(({ control, cells }) => [h("div", { class: "nk-matrix-slider" }, control), cells.a.root, cells.b.root]));

  function paint(state, a, b) {
    root.classList.toggle("nk-matrix-single", !b);
    heads.a.paint(a.sample);
    if (b) heads.b.paint(b.sample);
    for (const { method, key, control, cells } of rows) {
      control.show(state[key]);
      cells.a.paint(a.results[method]);
      if (b) cells.b.paint(b.results[method]);
    }
  }
  return { root, paint };
}
