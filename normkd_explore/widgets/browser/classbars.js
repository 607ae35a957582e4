// Ten bars of one softened prediction and one for all other classes together, on an axis from 0 to 100 %.
// A bar can be chosen: arrow keys walk, Enter or a click opens it.
import { fixed, h, label } from "./dom.js";

const SHOWN = 10;
const percentText = (value) => `${fixed(100 * value, value < 0.0995 ? 1 : 0)} %`;

function createBarRow(name, isOthers) {
  const bar = h("i"), number = label("span", { class: "nk-bar-number" });
  const root = h("li", {
    class: isOthers ? "nk-bar nk-bar-others" : "nk-bar", role: "option", tabindex: -1, "aria-selected": "false",
  }, h("span", { class: "nk-bar-name" }, name), h("span", { class: "nk-bar-track" }, bar), number);
  const paint = (value) => {
    const text = percentText(value);
    bar.style.transform = `scaleX(${value.toFixed(5)})`;
    number.show(text);
    root.setAttribute("aria-label", `${isOthers ? `${name.slice(1)} other classes` : name}: ${text}`);
  };
  return { root, paint };
}

// `order` lists the classes by logit; `onPick` is called with a class.
export function createClassBars({ names, order, title, onPick }) {
  const classes = order.slice(0, SHOWN), left = order.length - classes.length;
  const rows = classes.map((c) => createBarRow(names[c], false));
  const others = left ? createBarRow(`+${left}`, true) : null;
  const list = h("ol", { class: "nk-classbars", role: "listbox", "aria-label": title },
    ...rows.map((row) => row.root), ...(others ? [others.root] : []));
  const root = h("div", {}, list, h("div", { class: "nk-bar nk-bar-axis", "aria-hidden": "true" }, h("span"),
    h("span", {}, ...["0", "50 %", "100 %"].map((text) => h("span", {}, text))), h("span")));
  let active = 0;
  rows[0].root.tabIndex = 0;

  function pick(at) {
    choose(at);
    onPick(classes[at]);
  }
  function choose(at) {
    rows[active].root.tabIndex = -1;
    active = at;
    rows[active].root.tabIndex = 0;
  }
  rows.forEach(({ root }, at) => root.addEventListener("click", () => pick(at)));
  list.addEventListener("keydown", (event) => {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (event.key === "Enter" || event.key === " ") pick(active);
    else if (step) {
      choose(Math.min(rows.length - 1, Math.max(0, active + step)));
      rows[active].root.focus();
    } else return;
    event.preventDefault();
  });

  function paint(probs) {
    let rest = 1;
    classes.forEach((c, i) => {
      rows[i].paint(probs[c]);
      rest -= probs[c];
    });
    others?.paint(Math.max(0, rest));
  }
  const mark = (c) => rows.forEach(({ root }, i) => root.setAttribute("aria-selected", String(classes[i] === c)));
  return { root, paint, mark };
}
