// A teacher that rounds its answers: what is left of one sample's logits, and what NormKD makes of them.
import { fixed, frameGate, h, label } from "./dom.js";
import { std } from "./formulas.js";
import { createKnob, createSwitch, samplePicture } from "./knob.js";
import { effectiveClasses } from "./softness.js";

export function createRounded({ digits: sample }) {
  const values = sample.steps.map((step) => step.digits);
  const exact = sample.steps.at(-1);
  let state = { digits: 4, remedy: "epsilon" };
  const change = (part) => {
    state = { ...state, ...part };
    repaint();
  };
  const words = (digits) => (digits === null ? "all" : String(digits));
  const knob = createKnob({ name: "decimals of the answers:", key: "digits", values, text: words, onInput: (digits) => change({ digits }) });
  const remedy = createSwitch({ name: "Classes rounded to 0", options: { epsilon: "log(p + 1e-8)", fit: "fill with a fitted normal" }, onChange: (value) => change({ remedy: value }) });
  const facts = { shown: ["classes that show a probability", label("b"), h("i")], std: ["std of the recovered logits", label("b"), h("i")], classes: ["effective classes at T_norm = 1", label("b"), h("i")] };
  const repaint = frameGate(() => {
    const step = sample.steps.find(({ digits }) => digits === state.digits), of = (row) => ({ std: std(row), classes: effectiveClasses(row, std(row)) });
    const now = { shown: step.shown, ...of(step[state.remedy]) }, wanted = { shown: exact.shown, ...of(exact[state.remedy]) };
    knob.show(state.digits);
    remedy.show(state.remedy);
    for (const [key, [, number, bar]] of Object.entries(facts)) {
      number.show(`${fixed(now[key], key === "std" ? 2 : 0)} of ${fixed(wanted[key], key === "std" ? 2 : 0)}`.replace(" of ", key === "shown" ? " of " : ", exact "));
      bar.style.width = `${Math.min(100, (50 * now[key]) / wanted[key])}%`;
    }
  });
  repaint();
  return h("div", { class: "nk nk-front nk-rounded" }, h("div", { class: "nk-beside" }, samplePicture(sample), h("div", { class: "nk-grow" }, knob.root)), remedy.root,
    ...Object.values(facts).map(([name, number, bar]) => h("div", { class: "nk-fact-row" }, h("span", {}, name), h("span", { class: "nk-fact-track" }, bar), number)));
}
