// What the loss does to one student's logits: teacher and student side by side, the gradient of each class, and one
// class taken apart. The student's scale can be changed: NormKD does not see it.
import { fixed, frameGate, h, label } from "./dom.js";
import { soften } from "./formulas.js";
import { createKnob, createSwitch, samplePicture } from "./knob.js";
import { temperatureText } from "./softness.js";

const PULL_SHOWN = 8, PULL_SETTINGS = { T: 6, T_norm: 1 }, SCALES = [0.25, 0.35, 0.5, 0.7, 1, 1.4, 2, 2.8, 4];
const METHODS_SHOWN = { kd: "KD, T = 6", normkd: "NormKD, T_norm = 1", lskd: "LSKD, T = 1" };
const STEPS_SHOWN = {
  q: ["student’s q", (g) => g.q], p: ["teacher’s p", (g) => g.p], gap: ["q − p", (g) => g.q - g.p],
  weighted: ["× weight / student’s T", (g) => g.factor * (g.q - g.p)],
  along: ["− its share along the student’s own logits", (g) => g.gradient - g.factor * (g.q - g.p)], gradient: ["= gradient", (g) => g.gradient],
};
const four = (value) => fixed(value, Math.abs(value) < 0.1 ? 4 : 3);

function createPullRow(name, onPick) {
  const bars = ["p", "q", "g"].map(() => h("i")), number = label("span", { class: "nk-pull-number" });
  const root = h("button", { type: "button", class: "nk-pull-row", "aria-pressed": "false", onclick: onPick },
    h("b", {}, name), h("span", { class: "nk-pull-probs" }, bars[0], bars[1]), h("span", { class: "nk-pull-track" }, bars[2]), number);
  const paint = ({ p, q, gradient }, ends, isPicked) => {
    bars[0].style.width = `${(100 * p) / ends.p}%`;
    bars[1].style.width = `${(100 * q) / ends.p}%`;
    const share = (50 * gradient) / ends.g;
    bars[2].style.left = `${gradient > 0 ? 50 - share : 50}%`;
    bars[2].style.width = `${Math.abs(share)}%`;
    bars[2].className = gradient > 0 ? "nk-down" : "nk-up";
    number.show(gradient > 0 ? `▼ ${four(gradient)}` : `▲ ${four(-gradient)}`);
    root.setAttribute("aria-pressed", String(isPicked));
    root.setAttribute("aria-label", `${name}: teacher ${fixed(100 * p, 1)} %, student ${fixed(100 * q, 1)} %, gradient ${four(gradient)}`);
  };
  return { root, paint };
}

export function createPull({ names, lens }) {
  const logitsT = Float64Array.from(lens.teacher), logitsS = Float64Array.from(lens.student);
  const order = Array.from(logitsT.keys()).sort((a, b) => logitsT[b] - logitsT[a]).slice(0, PULL_SHOWN);
  const topS = logitsS.indexOf(logitsS.reduce((a, b) => Math.max(a, b)));
  if (!order.includes(topS)) order[PULL_SHOWN - 1] = topS;
  let state = { method: "normkd", scale: 1, picked: order[0] };
  const change = (part) => {
    state = { ...state, ...part };
    repaint();
  };
  const method = createSwitch({ name: "Loss", options: METHODS_SHOWN, onChange: (value) => change({ method: value }) });
  const scale = createKnob({ name: "student’s logits ×", key: "scale", values: SCALES, text: temperatureText, onInput: (value) => change({ scale: value }) });
  const rows = order.map((c) => createPullRow(names[c], () => change({ picked: c })));
  const say = label("p", { class: "nk-say" }), title = label("b");
  const cells = Object.entries(STEPS_SHOWN).map(([key, [name, read]]) => {
    const cell = label("td", { "data-step": key });
    return { root: h("tr", {}, h("th", { scope: "row" }, name), cell), paint: (g) => cell.show(four(read(g))) };
  });

  const repaint = frameGate(() => {
    const at = (factor) => soften(logitsT, logitsS.map((z) => factor * z), state.method, PULL_SETTINGS);
    const view = at(state.scale), start = at(1);
    const of = (c) => ({ p: view.probsT[c], q: view.probsS[c], gradient: view.gradient[c], factor: view.weight / view.temperatureS });
    const ends = { p: Math.max(...order.flatMap((c) => [view.probsT[c], view.probsS[c]])), g: Math.max(...order.map((c) => Math.abs(view.gradient[c]))) };
    method.show(state.method);
    scale.show(state.scale);
    rows.forEach((row, i) => row.paint(of(order[i]), ends, order[i] === state.picked));
    title.show(`${names[state.picked]}, number by number`);
    cells.forEach((cell) => cell.paint(of(state.picked)));
    say.show(`Loss ${fixed(view.loss, 3)}` + (state.scale === 1 ? "." : `; at × 1 it was ${fixed(start.loss, 3)}.`) +
      ` Pull on the student’s scale: ${fixed(view.gradientAlongLogits, 3)}.`);
  });
  repaint();
  return h("div", { class: "nk nk-front nk-pull" }, h("div", { class: "nk-beside" }, samplePicture(lens), method.root),
    scale.root, say, h("div", { class: "nk-two" },
      h("div", {}, h("div", { class: "nk-pull-head" }, h("span", {}, h("i", { class: "nk-key nk-teacher" }), " teacher"), h("span", {}, h("i", { class: "nk-key nk-student" }), " student"),
        h("span", {}, "▼ ▲ where a step moves the logit")), ...rows.map((row) => row.root)),
      h("div", {}, title, h("table", {}, ...cells.map((cell) => cell.root)))));
}
