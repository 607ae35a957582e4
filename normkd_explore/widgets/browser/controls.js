// What the Softening Explorer can be asked to show, apart from its temperatures.
import { choice, h } from "./dom.js";

const CHOICES = {
  show: {
    name: "Bars",
    options: {
      probabilities: ["Probabilities", "softened predictions"],
      gradients: ["Gradients", "d(weight · KL)/d(student logit): descent moves a logit against its bar"],
    },
  },
  classes: {
    name: "Classes",
    options: { top: ["Top 10", "the teacher's ten likeliest classes"], all: ["All classes", "every class"] },
  },
  scale: {
    name: "Scale",
    options: {
      same: ["Same", "one linear axis for every column of A and B"], fit: ["Fit", "each column to its own bars"], log: ["Log", "six decades"],
    },
  },
};

export function createChoices(change) {
  const parts = Object.fromEntries(Object.entries(CHOICES).map(([key, { name, options }]) =>
    [key, choice({ name, key, options, onChange: (value) => change({ [key]: value }) })]));
  const root = h("div", { class: "nk-choices" }, ...Object.values(parts));
  return { root, paint: (state) => Object.keys(parts).forEach((key) => parts[key].show(state[key])) };
}

// The switch that moves both sliders together, so that methods are compared at the same median softness.
export function createTie(onChange) {
  const input = h("input", { type: "checkbox", "data-key": "tie", onchange: () => onChange(input.checked) });
  const root = h("label", { class: "nk-tie" }, input, h("span", {}, "move together: equal median softness"));
  return { root, paint: (on) => {
    if (input.checked !== on) input.checked = on;
  } };
}
