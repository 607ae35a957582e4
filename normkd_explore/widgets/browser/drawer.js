// The drawer: one number taken apart. A column of school arithmetic, teacher beside student, that follows the sliders.
import { h, label } from "./dom.js";

// Four digits that count: "24.31", "0.05602", "4.365e+10" as "4.365·10¹⁰".
const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
export function significant(value) {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "n/a";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e-3 && size < 1e5) return (size < 9999.5 ? value.toPrecision(4) : value.toFixed(0)).replace("-", "−");
  const [digits, power] = value.toExponential(3).split("e");
  const raised = [...power.replace("+", "")].map((sign) => (sign === "-" ? "⁻" : SUPERSCRIPTS[Number(sign)])).join("");
  return `${digits.replace("-", "−")}·10${raised}`;
}

function createStep({ key, name, student, value }, columns) {
  const cells = value !== undefined
    ? [[label("td", { "data-step": key, colspan: columns }), (step) => step.value]]
    : [[label("td", { "data-step": `${key}.teacher` }), (step) => step.teacher],
      [label("td", { "data-step": `${key}.student` }), (step) => step.student]];
  const used = student === undefined && value === undefined ? cells.slice(0, 1) : cells;
  const root = h("tr", { class: /^[=×]|^exp\(H/.test(name) ? "nk-drawer-result" : undefined },
    h("th", { scope: "row" }, name), ...used.map(([cell]) => cell));
  return { root, paint: (step) => used.forEach(([cell, pick]) => cell.show(significant(pick(step)))) };
}

// `heads` are the columns' titles; `extra` are controls for the drawer's first line; onClose closes it.
export function createDrawer({ heads, extra = [], onClose }) {
  const title = label("b", { class: "nk-drawer-title" }), body = h("tbody");
  const close = h("button", { type: "button", class: "nk-button", "aria-label": "Close the arithmetic", onclick: onClose }, "✕");
  const root = h("section", { class: "nk-drawer", "aria-label": "The arithmetic of one class", hidden: "", onkeydown: (event) => {
    if (event.key === "Escape") onClose();
  } }, h("header", {}, title, ...extra, close), h("table", {}, h("thead", {}, h("tr", {}, h("th", { "aria-label": "step" }),
    ...heads.map((head) => h("th", { scope: "col" }, head)))), body));
  let rows = [], shape = "";

  function paint(words, steps) {
    title.show(words);
    const next = steps.map(({ key, name }) => key + name).join();
    if (next !== shape) {
      shape = next;
      rows = steps.map((step) => createStep(step, heads.length));
      body.replaceChildren(...rows.map((row) => row.root));
    }
    steps.forEach((step, i) => rows[i].paint(step));
  }
  return { root, paint, open: (isOpen) => (root.hidden = !isOpen) };
}
