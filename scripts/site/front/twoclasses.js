// Two classes: z-scores of two numbers are ±0.707 whatever they are. The reader moves the student; KD answers, NormKD cannot.
import { fixed, frameGate, h, label } from "./dom.js";
import { divergence, logSoftmax } from "./formulas.js";
import { createKnob } from "./knob.js";

const TEACHER_LOGITS = [2, -1], TWO_T = 4;
const GAPS = Array.from({ length: 33 }, (_, i) => (i - 16) / 4);

function klWith(student, temperatureT, temperatureS) {
  return divergence(logSoftmax(TEACHER_LOGITS, temperatureT), logSoftmax(student, temperatureS));
}
const spreadOfTwo = ([a, b]) => Math.abs(a - b) / Math.SQRT2;
const kdLoss = (student) => TWO_T ** 2 * klWith(student, TWO_T, TWO_T);
const normkdLoss = (student) => (spreadOfTwo(student) ? spreadOfTwo(TEACHER_LOGITS) ** 2 * klWith(student, spreadOfTwo(TEACHER_LOGITS), spreadOfTwo(student)) : NaN);
const slope = (loss, gap) => (loss([(gap + 1e-5) / 2, -(gap + 1e-5) / 2]) - loss([(gap - 1e-5) / 2, -(gap - 1e-5) / 2])) / 2e-5;

function createLossRow(name) {
  const number = label("b"), bar = h("i");
  return { number, bar, root: h("div", { class: "nk-two-row" }, h("span", {}, name), h("span", { class: "nk-two-track" }, bar), number) };
}

export function createTwoClasses() {
  let gap = 1;
  const rows = { kd: createLossRow("KD’s pull"), normkd: createLossRow("NormKD’s pull") };
  const knob = createKnob({ name: "student: logit of yes minus logit of no =", key: "gap", values: GAPS, text: (value) => fixed(value, 2), onInput: (value) => {
    gap = value;
    repaint();
  } });
  const say = label("p", { class: "nk-say" });
  const repaint = frameGate(() => {
    const pulls = { kd: slope(kdLoss, gap), normkd: gap ? slope(normkdLoss, gap) : 0 };
    knob.show(gap);
    for (const [key, { number, bar }] of Object.entries(rows)) {
      const pull = Math.abs(pulls[key]) < 1e-6 ? 0 : -pulls[key];
      number.show(fixed(pull, 2));
      bar.style.width = `${Math.min(50, 12 * Math.abs(pull))}%`;
      bar.style.left = pull < 0 ? `${50 - Math.min(50, 12 * Math.abs(pull))}%` : "50%";
    }
    const z = gap ? `(${gap > 0 ? "0.707, −0.707" : "−0.707, 0.707"})` : "undefined, as both logits are equal";
    say.show(`The teacher’s difference is 3. The student’s z-scores are ${z}.`);
  });
  repaint();
  return h("div", { class: "nk nk-front nk-twoclasses" }, knob.root, say, rows.kd.root, rows.normkd.root);
}
