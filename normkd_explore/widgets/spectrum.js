// The long chart: every class at once on a canvas, in the order of the teacher's logits.
// Teacher upwards, student downwards: position tells them apart where bars are a pixel wide.
import { h, label, short } from "./dom.js";

const PANEL = 96, GAP = 30, LONGEST_NAME = 13;

export function createSpectrum(data, getColours) {
  const canvas = h("canvas", { class: "nk-canvas", tabindex: 0, role: "img" });
  const readout = label("p", { class: "nk-readout" });
  const root = h("div", { class: "nk-spectrum" }, canvas, readout);
  const pen = canvas.getContext("2d");
  const longest = Math.min(LONGEST_NAME, Math.max(...data.names.map((name) => name.length)));
  const upright = longest <= 2, nameHeight = 10 + 7 * longest;
  let width = 0, classes = [], last = null, cursor = 0;

  function resize(panels) {
    const height = panels * (PANEL + GAP) + nameHeight, ratio = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.height = `${height}px`;
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.font = `11px ${getColours().font}`;
  }

  function grid(top, { ticks }, signed) {
    const { line, muted } = getColours();
    const middle = top + PANEL / 2;
    pen.fillStyle = line;
    for (const y of [top, middle, top + PANEL]) pen.fillRect(0, Math.round(y), width, y === middle ? 1.5 : 1);
    pen.fillStyle = muted;
    pen.textAlign = "right";
    pen.fillText(signed ? ticks[2] : `teacher ↑  ${ticks[2]}`, width - 2, top + 13);
    pen.fillText(signed ? ticks[0] : `student ↓  ${ticks[2]}`, width - 2, top + PANEL - 6);
  }

  function bars(values, sign, middle, scale, colour) {
    const slot = width / classes.length;
    const thick = Math.max(1, slot > 3 ? slot - 1.5 : slot);
    pen.fillStyle = colour;
    classes.forEach((c, i) => {
      const size = sign * scale.fraction(values[c]) * (PANEL / 2 - 1);
      pen.fillRect(i * slot, middle - size, thick, size);
    });
  }

  function nameAxis(top) {
    const { ink, muted } = getColours(), slot = width / classes.length, step = Math.ceil(13 / slot);
    pen.textAlign = upright ? "center" : "right";
    for (let i = 0; i < classes.length; i += step) {
      const name = data.names[classes[i]];
      pen.save();
      pen.translate(i * slot + Math.min(slot, 13) / 2, top);
      if (upright) pen.translate(0, 8);
      else pen.rotate(-Math.PI / 2);
      pen.fillStyle = classes[i] === last.sample.label ? ink : muted;
      pen.fillText(name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME - 1)}…` : name, 0, upright ? 0 : 4);
      pen.restore();
    }
  }

  function say() {
    const c = classes[cursor];
    const parts = last.columns.map(({ title, teacher, student }) =>
      `${title} ${teacher ? `${short(teacher[c])} / ` : ""}${short(student[c])}`);
    readout.show(`${data.names[c]}${c === last.sample.label ? " (true class)" : ""}: ${parts.join(" · ")}`);
  }

  function paint(columns, scales, signed) {
    last = { ...last, columns, scales, signed };
    if (width === 0) return;
    const { ink, muted, teacher, student } = getColours();
    resize(columns.length);
    columns.forEach((column, k) => {
      const top = k * (PANEL + GAP) + GAP - 8, middle = top + PANEL / 2;
      pen.textAlign = "left";
      pen.fillStyle = ink;
      pen.fillText(column.title, 0, top - 7);
      pen.fillStyle = muted;
      pen.fillText(column.note, pen.measureText(column.title).width + 8, top - 7);
      grid(top, scales[k], signed);
      if (column.teacher) bars(column.teacher, 1, middle, scales[k], teacher);
      bars(column.student, signed ? 1 : -1, middle, scales[k], student);
    });
    nameAxis(columns.length * (PANEL + GAP));
    pen.fillStyle = ink;
    pen.globalAlpha = 0.35;
    pen.fillRect(((cursor + 0.5) * width) / classes.length, GAP - 8, 1, columns.length * (PANEL + GAP) - GAP);
    pen.globalAlpha = 1;
    say();
  }

  function move(to) {
    cursor = Math.min(classes.length - 1, Math.max(0, to));
    if (last?.columns) paint(last.columns, last.scales, last.signed);
  }

  function arrange(order, sample) {
    classes = order;
    last = { ...last, sample };
    cursor = Math.min(cursor, order.length - 1);
    canvas.setAttribute("aria-label",
      `All ${order.length} classes by the teacher's logits, first ${data.names[order[0]]}. ` +
      "Arrow keys move the cursor; the line below reads the values.");
  }
  canvas.addEventListener("mousemove", ({ offsetX }) => move(Math.floor((offsetX / width) * classes.length)));
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    move(cursor + step);
    event.preventDefault();
  });
  const observer = new ResizeObserver(() => {
    width = canvas.clientWidth;
    if (last?.columns) move(cursor);
  });
  observer.observe(canvas);
  return { root, arrange, paint, stop: () => observer.disconnect() };
}
