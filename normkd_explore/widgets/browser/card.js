// One sample, A or B: its picture and facts, its bars (short or long chart), and its numbers or, opened, their arithmetic.
import { lossSteps } from "./arithmetic.js";
import { fixed, h, hide, label, percent } from "./dom.js";
import { createDrawer } from "./drawer.js";
import { soften } from "./formulas.js";
import { METHODS, createNumbers } from "./numbers.js";
import { createRows } from "./rows.js";
import { showPicture, topClasses } from "./samples.js";
import { createSpectrum } from "./spectrum.js";
import { largest, makeScale, roundUp } from "./scale.js";

const ROWS_SHOWN = 10;

// Probabilities: NormKD and LSKD share a column. The third column goes where there is no room for three.
function columnsOf(results, show, isWide) {
  const { raw, kd, normkd, lskd } = results;
  const own = `T ${fixed(normkd.temperatureT)} t, ${fixed(normkd.temperatureS)} s`;
  if (show === "gradients") return [
    { method: "kd", title: "KD", note: `T ${fixed(kd.temperatureT)}`, student: kd.gradient },
    { method: "normkd", title: "NormKD", note: `weight ${fixed(normkd.weight, 1)}`, student: normkd.gradient },
    { method: "lskd", title: "LSKD", note: `weight ${fixed(lskd.weight, 1)}`, student: lskd.gradient },
  ].slice(0, isWide ? 3 : 2);
  return [
    { method: "raw", title: "Raw", note: "T 1", teacher: raw.probsT, student: raw.probsS },
    { method: "kd", title: "KD", note: `T ${fixed(kd.temperatureT)}`, teacher: kd.probsT, student: kd.probsS },
    { method: "normkd", title: "NormKD", note: own, teacher: normkd.probsT, student: normkd.probsS },
  ].slice(isWide ? 0 : 1);
}

// "fit": every column its own end; "same": one end for all columns and cards; "log": six decades below it.
export function endsOf(columns, classes, { show, scale }) {
  const signed = show === "gradients";
  const tops = columns.map(({ teacher, student }) => largest(teacher ? [teacher, student] : [student], classes));
  if (scale === "fit") return tops.map(roundUp);
  return tops.map(() => (scale === "log" && !signed ? 1 : roundUp(Math.max(...tops))));
}

function createFacts(data) {
  const picture = h("div", { class: "nk-portrait", role: "img" });
  const title = label("h3"), teacher = label("span"), student = label("span"), spread = label("span");
  const who = (name) => h("span", { class: "nk-who" }, `${name}: `);
  const root = h("div", { class: "nk-facts" }, picture,
    h("div", {}, title,
      h("p", {}, h("i", { class: "nk-key nk-teacher" }), who("Teacher"), teacher),
      h("p", {}, h("i", { class: "nk-key nk-student" }), who("Student"), student),
      h("p", { class: "nk-spread" }, spread)));
  const say = (top, probability, right) => `${data.names[top]} ${percent(probability)} ${right ? "✓" : "✗"}`;
  const show = (letter, sample, { raw }) => {
    showPicture(picture, data, sample.index);
    picture.setAttribute("aria-label", `Picture of sample ${sample.index}, ${data.names[sample.label]}`);
    title.show(`${letter} · ${data.names[sample.label]}`);
    teacher.show(say(sample.topT, raw.probsT[sample.topT], sample.topT === sample.label));
    student.show(say(sample.topS, raw.probsS[sample.topS], sample.topS === sample.label));
    spread.show(`std of logits: ${fixed(raw.stdT)} t, ${fixed(raw.stdS)} s`);
  };
  return { root, show };
}

// What the drawer takes apart: a method and a class, chosen by clicks on bars and numbers or with the drawer's own lists.
function createArithmetic(data, letter, repaint) {
  const methods = h("select", { class: "nk-select", "aria-label": "Method", "data-key": "method", onchange: () => open({ method: methods.value }) },
    ...Object.entries(METHODS).map(([key, { title }]) => h("option", { value: key }, title)));
  const classes = h("select", { class: "nk-select", "aria-label": "Class", "data-key": "class", onchange: () => open({ c: Number(classes.value) }) },
    ...data.names.map((name, c) => h("option", { value: c }, name)));
  const drawer = createDrawer({ heads: ["teacher", "student"], extra: [classes, methods], onClose: close });
  let chosen = null, last = {};

  // A class or a method that is not named stays what it was: the teacher's favourite under KD at first.
  function open({ method = last.method ?? "kd", c = last.c ?? null }) {
    chosen = last = { method, c };
    repaint();
  }
  function close() {
    chosen = null;
    repaint();
  }
  function paint(sample, results) {
    drawer.open(Boolean(chosen));
    if (!chosen) return;
    const c = chosen.c ?? sample.topT, { method } = chosen;
    methods.value = method;
    classes.value = c;
    drawer.paint("Step by step", lossSteps(sample.logitsT, sample.logitsS, results[method], c));
  }
  return { root: drawer.root, open, paint, chosen: (sample) => (chosen ? chosen.c ?? sample.topT : null), isOpen: () => Boolean(chosen) };
}

export function createCard(data, letter, { buttons, getColours, repaint }) {
  const facts = createFacts(data), arithmetic = createArithmetic(data, letter, repaint);
  const numbers = createNumbers((method) => arithmetic.open({ method }));
  const rows = createRows(data, Math.min(ROWS_SHOWN, data.names.length), (method, c) => arithmetic.open({ method, c }));
  const spectrum = createSpectrum(data, getColours, (method, c) => arithmetic.open({ method, c }));
  const root = h("section", { class: `nk-card nk-card-${letter.toLowerCase()}`, "aria-label": `Sample ${letter}` },
    h("header", {}, facts.root, h("div", { class: "nk-buttons" }, ...buttons)),
    h("div", { class: "nk-charts" }, rows.root, spectrum.root), numbers.root, arithmetic.root);
  const results = {}, settings = {};
  let sample = null;

  // A method is computed again only when its own slider moved.
  function update(next, state) {
    for (const [method, { slider }] of Object.entries(METHODS)) {
      if (next === sample && settings[method] === state[slider]) continue;
      results[method] = soften(next.logitsT, next.logitsS, method, state);
      settings[method] = state[slider];
    }
  }

  function compute(next, state, isWide) {
    update(next, state);
    if (next !== sample) {
      sample = next;
      rows.arrange(topClasses(sample, Math.min(ROWS_SHOWN, data.names.length)), sample);
      spectrum.arrange(sample);
      facts.show(letter, sample, results);
    }
    return { sample, results, columns: columnsOf(results, state.show, isWide) };
  }

  function paint({ results, columns }, ends, { show, scale, classes }) {
    const signed = show === "gradients";
    const scales = ends.map((end) => makeScale(scale, end, signed));
    hide(rows.root, classes === "all");
    hide(spectrum.root, classes !== "all");
    (classes === "all" ? spectrum : rows).paint(columns, scales, signed);
    hide(numbers.root, arithmetic.isOpen());
    if (!arithmetic.isOpen()) numbers.paint(results);
    arithmetic.paint(sample, results);
    rows.mark(arithmetic.chosen(sample));
  }
  return { root, compute, paint, open: arithmetic.open, restart: spectrum.restart, stop: spectrum.stop };
}
