// Small tools for building the page: elements, controls, number texts, and the frame gate.

// Arrow keys would move JupyterLab's cell selection unless the focused element itself carries this mark.
const FOCUSABLE = new Set(["button", "input", "select"]);

export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined) node.setAttribute(name, value);
  }
  if (FOCUSABLE.has(tag) || "tabindex" in attributes) node.dataset.lmSuppressShortcuts = "true";
  node.append(...children);
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag, attributes = {}) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

// One text node that is rewritten in place, and only when the text differs.
function withText(node) {
  const text = document.createTextNode("");
  node.append(text);
  node.show = (value) => {
    if (text.data !== value) text.data = value;
  };
  return node;
}

export const label = (tag, attributes) => withText(h(tag, attributes));
export const svgLabel = (attributes) => withText(svg("text", attributes));

// To hide what is hidden would cost a recalculation of styles.
export function hide(node, isHidden) {
  if (node.hidden !== isHidden) node.hidden = isHidden;
}

// Writes attributes that differ from the last ones written here: an equal one may still cost a layout of the page.
export function writer(node) {
  const written = {};
  return (attributes) => {
    for (const [name, value] of Object.entries(attributes))
      if (written[name] !== value) node.setAttribute(name, (written[name] = value));
  };
}

export function fixed(value, digits = 2) {
  if (!Number.isFinite(value)) return "n/a";
  // A rounded-away negative must not read "-0.00".
  const text = value.toFixed(digits);
  return Number(text) === 0 ? (0).toFixed(digits) : text.replace("-", "−");
}

export function short(value) {
  if (!Number.isFinite(value)) return "n/a";
  const size = Math.abs(value);
  if (size === 0 || size >= 0.0005) return fixed(value, 3);
  return size < 1e-12 ? "0" : value.toExponential(0).replaceAll("-", "−");
}

export const percent = (value) => `${fixed(100 * value, value < 0.1 ? 1 : 0)} %`;

// Runs `paint` at once, then at most once a frame: input that arrives faster than the screen never queues.
export function frameGate(paint) {
  let waiting = false, dirty = false;
  const open = () => {
    waiting = false;
    if (dirty) request();
  };
  const request = () => {
    if (waiting) {
      dirty = true;
      return;
    }
    waiting = true;
    dirty = false;
    requestAnimationFrame(open);
    paint();
  };
  return request;
}

export function slider({ name, hint, key, min, max, step, onInput, onRelease }) {
  const value = label("span");
  const input = h("input", {
    type: "range", min, max, step, "aria-label": `${name}, ${hint}`, "data-key": key,
    oninput: () => onInput(Number(input.value)), onchange: onRelease,
  });
  const node = h("label", { class: "nk-slider" },
    h("span", { class: "nk-slider-name" }, name, h("small", {}, hint)),
    h("output", { class: "nk-slider-value" }, value), h("div", { class: "nk-range" }, input));
  const write = writer(input);
  node.show = (number) => {
    value.show(fixed(number, 2));
    if (Number(input.value) !== number) input.value = number;
    write({ "aria-valuetext": fixed(number, 2) });
  };
  return node;
}

// A row of radio buttons drawn as one control; arrow keys work because the radios are native.
export function choice({ name, key, options, onChange }) {
  // Radio buttons of one name exclude each other on the whole page, and a page may show many explorers, each with its
  // own copy of this module.
  const group = `nk-choice-${Math.random().toString(36).slice(2)}`;
  const inputs = Object.entries(options).map(([value, [title, hint]]) => {
    const input = h("input", {
      type: "radio", name: group, value, "data-key": key, onchange: () => onChange(value),
    });
    return [input, h("label", { title: hint }, input, h("span", {}, title))];
  });
  const node = h("div", { class: "nk-choice", role: "radiogroup", "aria-label": name },
    ...inputs.map(([, box]) => box));
  node.show = (value) => inputs.forEach(([input]) => (input.checked = input.value === value));
  return node;
}
