// What the article's figures share: a slider with its value, a row of buttons of which one is pressed, sample pictures.
import { h, label } from "./dom.js";

// `values` are where it can stand; onInput hears the value. `show` sets it from outside.
export function createKnob({ name, values, key, text = String, onInput }) {
  const output = label("output"), input = h("input", {
    type: "range", min: 0, max: values.length - 1, step: 1, "aria-label": name, "data-key": key,
    oninput: () => onInput(values[Number(input.value)]),
  });
  const root = h("label", { class: "nk-knob" }, h("span", {}, name, " ", output), input);
  const show = (value) => {
    const at = values.indexOf(value);
    if (Number(input.value) !== at) input.value = at;
    output.show(text(value));
    input.setAttribute("aria-valuetext", text(value));
  };
  return { root, show };
}

// options: { value: text }.
export function createSwitch({ name, options, onChange }) {
  const buttons = Object.entries(options).map(([value, text]) => [value, h("button", {
    type: "button", class: "nk-button", "aria-pressed": "false", "data-value": value, onclick: () => onChange(value),
  }, text)]);
  const root = h("div", { class: "nk-switch", role: "group", "aria-label": name }, ...buttons.map(([, button]) => button));
  const show = (value) => buttons.forEach(([own, button]) => button.setAttribute("aria-pressed", String(own === value)));
  return { root, show };
}

export function samplePicture({ name, picture }) {
  return h("img", { src: picture, alt: `Picture of ${name}`, class: "nk-sample-picture", width: 48, height: 48 });
}

export const powers = (from, to, count) =>
  Array.from({ length: count }, (_, i) => Number((from * (to / from) ** (i / (count - 1))).toPrecision(2)));
