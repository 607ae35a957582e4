// One sample, A or B: its picture and facts, its bars (short or long chart) and its numbers.
import { fixed, h, hide, label, percent } from "./dom.js";
import { soften } from "./formulas.js";
import { METHODS, createNumbers } from "./numbers.js";
import { createRows } from "./rows.js";
import { showPicture, topClasses } from "./samples.js";
import { createSpectrum } from "./spectrum.js";
import { largest, makeScale, roundUp } from "./scale.js";

const ROWS = 10;

// Probabilities: NormKD and LSKD share a column. Gradients: raw gives way to LSKD.
function columnsOf(results, show) {
  const { raw, kd, normkd, lskd } = results;
  const own = `T ${fixed(normkd.temperatureT)} t, ${fixed(normkd.temperatureS)} s`;
  if (show === "gradients") return [
    { title: "KD", note: `T ${fixed(kd.temperatureT)}`, student: kd.gradient },
    { title: "NormKD", note: `weight ${fixed(normkd.weight, 1)}`, student: normkd.gradient },
    { title: "LSKD", note: `weight ${fixed(lskd.weight, 1)}`, student: lskd.gradient },
  ];
  return [
    { title: "Raw", note: "T 1", teacher: raw.probsT, student: raw.probsS },
    { title: "KD", note: `T ${fixed(kd.temperatureT)}`, teacher: kd.probsT, student: kd.probsS },
    { title: "NormKD", note: `${own}, LSKD alike`, teacher: normkd.probsT, student: normkd.probsS },
  ];
}

// "fit": every column its own end; "same": one end for all columns and cards; "log": six decades below it.
export function endsOf(columns, classes, { show, scale }) {
  const signed = show === "gradients";
  const tops = columns.map(({ teacher, student }) => largest(teacher ? [teacher, student] : [student], classes));
  if (scale === "fit") return tops.map(roundUp);
  return tops.map(() => (signed ? roundUp(Math.max(...tops)) : 1));
}

function createFacts(data) {
  const picture = h("div", { class: "nk-portrait", role: "img" });
  const title = label("h3"), teacher = label("span"), student = label("span"), spread = label("span");
  const root = h("div", { class: "nk-facts" }, picture,
    h("div", {}, title,
      h("p", {}, h("i", { class: "nk-key nk-teacher" }), teacher),
      h("p", {}, h("i", { class: "nk-key nk-student" }), student),
      h("p", { class: "nk-spread" }, spread)));
  const say = (who, top, probability, right) => `${who}: ${data.names[top]} ${percent(probability)} ${right ? "✓" : "✗"}`;
  const show = (letter, sample, { raw }) => {
    showPicture(picture, data, sample.index);
    picture.setAttribute("aria-label", `Picture of sample ${sample.index}, ${data.names[sample.label]}`);
    title.show(`${letter} · ${data.names[sample.label]}`);
    teacher.show(say("Teacher", sample.topT, raw.probsT[sample.topT], sample.topT === sample.label));
    student.show(say("Student", sample.topS, raw.probsS[sample.topS], sample.topS === sample.label));
    spread.show(`Std of logits: ${fixed(raw.stdT)} t, ${fixed(raw.stdS)} s`);
  };
  return { root, show };
}

export function createCard(data, letter, buttons, getColours) {
  const facts = createFacts(data), numbers = createNumbers();
  const rows = createRows(data, Math.min(ROWS, data.names.length));
  const spectrum = createSpectrum(data, getColours);
  const root = h("section", { class: `nk-card nk-card-${letter.toLowerCase()}`, "aria-label": `Sample ${letter}` },
    h("header", {}, facts.root, h("div", { class: "nk-buttons" }, ...buttons)),
    h("div", { class: "nk-charts" }, rows.root, spectrum.root), numbers.root);
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

  function compute(next, state) {
    update(next, state);
    if (next !== sample) {
      sample = next;
      rows.arrange(topClasses(sample, Math.min(ROWS, data.names.length)), sample);
      spectrum.arrange(sample);
      facts.show(letter, sample, results);
    }
    return { sample, results, columns: columnsOf(results, state.show) };
  }

  function paint({ results, columns }, ends, { show, scale, classes }) {
    const signed = show === "gradients";
    const scales = ends.map((end) => makeScale(scale, end, signed));
    hide(rows.root, classes === "all");
    hide(spectrum.root, classes !== "all");
    (classes === "all" ? spectrum : rows).paint(columns, scales, signed);
    numbers.paint(results);
  }
  return { root, compute, paint, restart: spectrum.restart, stop: spectrum.stop };
}
