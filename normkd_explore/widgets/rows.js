// The short chart: one table row a class, one column a method, teacher's bar above the student's.
// A bar is the size of a background and a text is rewritten in place: a slider step costs no new nodes, and no
// layout beyond the number itself.
import { h, label, short } from "./dom.js";

const SLOTS = 3;

// `share` of the track from `origin`, to the left where negative. A background's percentage position counts the
// room that its size leaves, hence the division.
function setBar(bar, share, origin) {
  const size = Math.abs(share), left = share < 0 ? origin + share : origin;
  bar.style.backgroundSize = `${(100 * size).toFixed(2)}% 100%`;
  bar.style.backgroundPosition = `${(size < 1 ? (100 * left) / (1 - size) : 0).toFixed(2)}% 0`;
}

function createCell() {
  const barT = h("i", { class: "nk-bar nk-teacher" }), barS = h("i", { class: "nk-bar nk-student" });
  const textT = label("span"), textS = label("span");
  const root = h("td", {}, h("div", { class: "nk-cell" },
    h("div", { class: "nk-track" }, barT, barS), h("div", { class: "nk-values" }, textT, textS)));
  const put = (bar, text, values, c, scale, signed) => {
    const share = values ? scale.fraction(values[c]) : 0;
    setBar(bar, signed ? share / 2 : share, signed ? 0.5 : 0);
    text.show(values ? short(values[c]) : "");
  };
  return {
    root,
    paint(column, c, scale, signed) {
      put(barT, textT, column.teacher, c, scale, signed);
      put(barS, textS, column.student, c, scale, signed);
    },
  };
}

function createRow(names) {
  const name = label("span", { class: "nk-name" }), tag = label("small");
  const cells = Array.from({ length: SLOTS }, createCell);
  const root = h("tr", {}, h("th", { scope: "row" }, h("div", {}, name, tag)), ...cells.map((cell) => cell.root));
  const row = { root, cells, c: 0 };
  row.assign = (c, sample) => {
    row.c = c;
    name.show(names[c]);
    name.title = names[c];
    const tags = [[sample.label, "true"], [sample.topT, "t"], [sample.topS, "s"]];
    tag.show(tags.filter(([which]) => which === c).map(([, text]) => text).join(" "));
    root.classList.toggle("nk-true", c === sample.label);
  };
  return row;
}

function restOf(values, rows) {
  let sum = 1;
  for (const row of rows) sum -= values[row.c];
  return short(Math.max(0, sum));
}

export function createRows(data, count) {
  const rows = Array.from({ length: count }, () => createRow(data.names));
  const heads = Array.from({ length: SLOTS }, () => [label("b"), label("small")]);
  const axes = Array.from({ length: SLOTS }, () => [label("span"), label("span"), label("span")]);
  const rests = Array.from({ length: SLOTS }, () => label("div", { class: "nk-rest" }));
  const others = data.names.length - count;
  const restName = h("th", { scope: "row" }, `${others} others`);
  const restRow = h("tr", {}, restName, ...rests.map((rest) => h("td", {}, rest)));
  restRow.hidden = others === 0;
  const longest = Math.max(...data.names.map((name) => name.length));
  const root = h("table", { class: "nk-rows", style: `--nk-names: ${Math.min(30, 15 + longest)}%` },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "class"),
      ...heads.map((pair) => h("th", { scope: "col" }, ...pair)))),
    h("tbody", {}, ...rows.map((row) => row.root)),
    h("tfoot", {}, h("tr", { "aria-hidden": "true" }, h("th"), ...axes.map((ticks) =>
      h("td", {}, h("div", { class: "nk-axis" }, ...ticks)))), restRow));

  function arrange(classes, sample) {
    classes.forEach((c, r) => rows[r].assign(c, sample));
  }

  function paintColumn(column, k, scale, signed) {
    heads[k][0].show(column.title);
    heads[k][1].show(column.note);
    for (const row of rows) row.cells[k].paint(column, row.c, scale, signed);
    axes[k].forEach((node, i) => node.show(scale.ticks[i]));
    rests[k].show(column.teacher ? `${restOf(column.teacher, rows)} / ${restOf(column.student, rows)}` : "");
  }

  function paint(columns, scales, signed) {
    root.classList.toggle("nk-signed", signed);
    restRow.hidden = signed || others === 0;
    columns.forEach((column, k) => paintColumn(column, k, scales[k], signed));
  }
  return { root, arrange, paint };
}
