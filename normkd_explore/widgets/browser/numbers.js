// The numbers of one sample: one row a quantity, one column a method. LSKD shares NormKD's distributions
// (up to its 1e-7) and differs in the weight, so here it has a column of its own.
import { fixed, h, label } from "./dom.js";

// `slider` is the state's key that a method depends on.
export const METHODS = {
  raw: { title: "raw" }, kd: { title: "KD", slider: "T" },
  normkd: { title: "NormKD", slider: "T_norm" }, lskd: { title: "LSKD", slider: "T_norm" },
};

const NEGLIGIBLE = 1e-6;

// Small values in powers of ten; below a millionth only rounding and LSKD's 1e-7 are left.
const digits = (n) => (value) => {
  const size = Math.abs(value);
  return size < 0.5 * 10 ** -n && size > NEGLIGIBLE ? value.toExponential(1).replaceAll("-", "−") : fixed(value, n);
};

const QUANTITIES = [
  ["classesT", "classes", "t", digits(2)],
  ["classesS", "", "s", digits(2)],
  ["temperatureT", "temperature", "t", digits(3)],
  ["temperatureS", "", "s", digits(3)],
  ["kl", "KL(t ‖ s)", "", digits(3)],
  ["weight", "weight", "", digits(2)],
  ["loss", "weight · KL", "", digits(3)],
  ["gradientNorm", "‖gradient‖", "", digits(3)],
  ["gradientAlongLogits", "gradient · zₛ", "", digits(3)],
];

const HINTS = {
  classesT: "effective classes, exp of the entropy: 1 where one class has everything, C for an even spread",
  gradientNorm: "length of d(weight · KL)/d(student logits)",
  gradientAlongLogits: "0 means that the term does not set the scale of the student's logits",
};

// A click on a number opens its arithmetic: onPick(method).
export function createNumbers(onPick) {
  const cells = [];
  const body = QUANTITIES.map(([quantity, name, note, text]) => {
    const row = Object.keys(METHODS).map((method) => {
      const cell = label("div", { "data-value": `${method}.${quantity}` });
      cells.push([method, (result) => cell.show(text(result[quantity]))]);
      return h("td", { class: `nk-of-${method}`, onclick: () => onPick(method) }, cell);
    });
    return h("tr", { title: HINTS[quantity], class: name ? "nk-first" : undefined },
      h("th", { scope: "row" }, h("div", {}, name, h("small", {}, note))), ...row);
  });
  const root = h("table", { class: "nk-numbers" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col", "aria-label": "quantity" }),
      ...Object.entries(METHODS).map(([method, { title }]) => h("th", { scope: "col", class: `nk-of-${method}` },
        h("button", { type: "button", class: "nk-number-head", "aria-label": `The arithmetic of ${title}`, onclick: () => onPick(method) }, title))))),
    h("tbody", {}, ...body));
  let last = {};
  // A slider moves one or two methods; the other columns keep their texts.
  const paint = (results) => {
    for (const [method, show] of cells) if (results[method] !== last[method]) show(results[method]);
    last = { ...results };
  };
  return { root, paint };
}
