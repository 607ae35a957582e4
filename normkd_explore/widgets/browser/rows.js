// The short chart: ten classes, one column a method, the teacher's bar above the student's and the teacher's value beside
// them. A column is three paths and a block of text, so that a slider step changes four nodes and not a hundred.
import { h, hide, label, short, svg, writer } from "./dom.js";

const COLUMNS = 3, ROW = 18;

// One path of all bars that start at 0, `top` pixels below their row's upper edge.
function barsPath(shares, top, height) {
  return shares.map((share, r) => {
    const width = share.toFixed(5);
    return `M0 ${r * ROW + top}h${width}v${height}H0z`;
  }).join("");
}

function createColumn(count, onRow) {
  const title = label("b"), note = label("small"), rest = label("div", { class: "nk-rest" });
  const ticks = [label("span"), label("span"), label("span")];
  const barsT = svg("path", { class: "nk-bars-teacher" }), barsS = svg("path", { class: "nk-bars-student" });
  const edgesS = svg("path", { class: "nk-bars-edge" });
  const plot = svg("svg", { preserveAspectRatio: "none", height: ROW * count });
  plot.append(barsT, barsS, edgesS);
  const text = label("pre");
  const field = h("div", { class: "nk-field", style: `height: ${ROW * count}px`, onclick: ({ clientY }) =>
    onRow(method, Math.min(count - 1, Math.max(0, Math.floor((clientY - field.getBoundingClientRect().top) / ROW)))) },
    h("div", { class: "nk-track" }, plot), h("div", { class: "nk-values" }, h("div", {}, text)));
  const root = h("div", { class: "nk-column" }, h("header", {}, title, note), field,
    h("div", { class: "nk-axis", "aria-hidden": "true" }, ...ticks), rest);
  const lines = (values, classes) => classes.map((c) => short(values[c])).join("\n");
  const write = writer(plot);
  let drawn = {}, method = null;

  function draw({ teacher, student }, scale, classes, signed) {
    const shares = (values) => classes.map((c) => scale.fraction(values[c]));
    const own = shares(student);
    write({ viewBox: signed ? `-1 0 2 ${ROW * count}` : `0 0 1 ${ROW * count}` });
    barsT.setAttribute("d", teacher ? barsPath(shares(teacher), 2, 7) : "");
    barsS.setAttribute("d", signed ? barsPath(own, 5, 10) : barsPath(own, 9, 8));
    edgesS.setAttribute("d", [0, 1, 2].slice(signed ? 0 : 1).map((i) => barsPath(own, (signed ? 7 : 8) + 3 * i, 1)).join(""));
    text.show(lines(teacher ?? student, classes));
  }

  function paint(column, scale, classes, signed) {
    method = column.method;
    title.show(column.title);
    note.show(column.note);
    const key = String(scale.ticks);
    // A slider moves one method only; the other columns stay as they are.
    if (drawn.student === column.student && drawn.key === key) return;
    drawn = { student: column.student, key };
    draw(column, scale, classes, signed);
    ticks.forEach((node, i) => node.show(scale.ticks[i]));
    rest.show(column.teacher ? `${restOf(column.teacher, classes)} / ${restOf(column.student, classes)}` : "");
  }
  return { root, paint, rest };
}

function restOf(values, classes) {
  let sum = 1;
  for (const c of classes) sum -= values[c];
  return short(Math.max(0, sum));
}

function createName(onPress) {
  const name = label("span", { class: "nk-name" }), tag = label("small");
  const press = h("button", { type: "button", class: "nk-row-name", onclick: onPress }, name, tag);
  const root = h("li", { style: `height: ${ROW}px` }, press);
  const assign = (title, c, sample) => {
    name.show(title);
    name.title = title;
    press.setAttribute("aria-label", `The arithmetic of ${title}`);
    const tags = [[sample.label, "true"], [sample.topT, "t"], [sample.topS, "s"]];
    tag.show(tags.filter(([which]) => which === c).map(([, text]) => text).join(" "));
    root.classList.toggle("nk-true", c === sample.label);
  };
  return { root, assign };
}

// onPick(method, class) hears of a click on a row; a name stands for no method in particular.
export function createRows(data, count, onPick) {
  const names = Array.from({ length: count }, (_, r) => createName(() => onPick(undefined, classes[r])));
  const columns = Array.from({ length: COLUMNS }, () => createColumn(count, (method, r) => onPick(method, classes[r])));
  const others = h("div", { class: "nk-rest nk-others", title: "all other classes: teacher / student" }, `+${data.names.length - count}`);
  const longest = Math.max(...data.names.map((name) => name.length));
  const root = h("div", { class: "nk-rows", style: `--nk-names: ${Math.min(30, 15 + longest)}%` },
    h("div", { class: "nk-classes" }, h("header", {}, h("small", {}, "class")),
      h("ol", {}, ...names.map((name) => name.root)), h("div", { class: "nk-axis" }), others),
    ...columns.map((column) => column.root));
  let classes = [];

  function arrange(next, sample) {
    classes = next;
    classes.forEach((c, r) => names[r].assign(data.names[c], c, sample));
  }

  function paint(shown, scales, signed) {
    root.classList.toggle("nk-signed", signed);
    const noRest = signed || data.names.length === count;
    for (const node of [others, ...columns.map(({ rest }) => rest)]) hide(node, noRest);
    columns.forEach((column, k) => {
      hide(column.root, k >= shown.length);
      if (k < shown.length) column.paint(shown[k], scales[k], classes, signed);
    });
    root.dataset.columns = shown.length;
  }
  const mark = (chosen) => names.forEach(({ root: line }, r) => line.classList.toggle("nk-chosen", classes[r] === chosen));
  return { root, arrange, paint, mark };
}
