// One sample and one T: what softening shows. Bars of the prediction, and the steps from a logit to its probability.
import { createClassBars } from "./classbars.js";
import { fixed, frameGate, h, label } from "./dom.js";
import { logSoftmax } from "./formulas.js";
import { createGauge } from "./gauge.js";
import { createKnob, powers, samplePicture } from "./knob.js";
import { effectiveClasses, temperatureText } from "./softness.js";

const LENS_STOPS = [...new Set([...powers(0.5, 1, 6), 1, ...powers(1, 4, 16), 4, ...powers(4, 20, 16)])].sort((a, b) => a - b);

export function createLens({ names, band, lens }) {
  const logits = Float64Array.from(lens.teacher), order = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a]);
  let T = 1, picked = order[1];
  const bars = createClassBars({ names, order, title: `Softened prediction of ${lens.name}`, onPick: (c) => {
    picked = c;
    repaint();
  } });
  const gauge = createGauge({ classes: logits.length, band, name: lens.name });
  const knob = createKnob({ name: "temperature T", key: "lens-T", values: LENS_STOPS, text: temperatureText, onInput: (value) => {
    T = value;
    repaint();
  } });
  const steps = label("p", { class: "nk-steps", "aria-live": "off" }), chances = label("p", { class: "nk-say" });
  const repaint = frameGate(() => {
    const logProbs = logSoftmax(logits, T), scaled = logits[picked] / T;
    const sum = logits.reduce((total, z) => total + Math.exp(z / T), 0);
    bars.paint(logProbs.map(Math.exp));
    bars.mark(picked);
    gauge.paint(effectiveClasses(logits, T));
    knob.show(T);
    steps.show(`${names[picked]}:  z = ${fixed(logits[picked])},  z / T = ${fixed(scaled)},  exp(z / T) = ${compact(Math.exp(scaled))},  ` +
      `sum over all ${logits.length} classes = ${compact(sum)},  p = ${compact(100 * Math.exp(logProbs[picked]))} %`);
    const rest = 1 - Math.exp(logProbs[order[0]]);
    chances.show(`T = ${temperatureText(T)}: ${fixed(100 * rest, rest < 0.0995 ? 1 : 0)} % are left for the classes that are not ${names[order[0]]}.`);
  });
  repaint();
  return h("div", { class: "nk nk-hero nk-front nk-lens" },
    h("div", { class: "nk-beside" }, samplePicture(lens), h("div", { class: "nk-grow" }, knob.root)), chances,
    h("div", { class: "nk-two" }, bars.root, h("div", {}, gauge.root, h("p", { class: "nk-hint" }, "Click a bar: its number, step by step."), steps)));
}

function compact(value) {
  return value >= 1e5 || value < 1e-3 ? value.toExponential(2).replace("e+", "·10^").replace("e-", "·10^−") : fixed(value, value < 10 ? 3 : 1);
}
