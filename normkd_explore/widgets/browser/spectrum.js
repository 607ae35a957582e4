// The long chart: every class at once on canvases, in the order of the teacher's logits.
// Teacher upwards, student downwards: position tells them apart where bars are a pixel wide.
// Texts are elements, not pixels: text on a canvas would make the browser lay out the page at every step.
import { h, hide, label, short } from "./dom.js";

const PANELS = 3, PANEL = 96, LONGEST_NAME = 13, NAME_STEP = 13;

function prepare(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.height = `${height}px`;
  canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
}

// Wide slots are separate bars. Narrow ones are the outline of the largest value in every pixel column, filled
// at once, so that a thousand classes cost no more than the canvas is wide.
function drawBars(pen, width, values, classes, sign, scale, colour) {
  const slot = width / classes.length, middle = PANEL / 2;
  const size = (i) => sign * scale.fraction(values[classes[i]]) * (middle - 1);
  pen.fillStyle = colour;
  if (slot >= 2) {
    for (let i = 0; i < classes.length; i++) pen.fillRect(i * slot, middle, Math.max(1, slot - 1.5), -size(i));
    return;
  }
  const columns = Math.max(1, Math.floor(width));
  pen.beginPath();
  pen.moveTo(0, middle);
  for (let x = 0, i = 0; x < columns; x++) {
    const end = Math.max(i + 1, Math.round(((x + 1) * classes.length) / columns));
    let most = 0;
    for (; i < end && i < classes.length; i++) if (Math.abs(size(i)) > Math.abs(most)) most = size(i);
    pen.lineTo(x, middle - most);
    pen.lineTo(x + 1, middle - most);
  }
  pen.lineTo(columns, middle);
  pen.fill();
}

function createPanel(getColours) {
  const canvas = h("canvas", { class: "nk-canvas" });
  const title = label("b"), note = label("small"), up = label("small"), down = label("small");
  const root = h("div", { class: "nk-panel" }, h("header", {}, title, note),
    h("div", { class: "nk-plot" }, canvas, up, down));
  const pen = canvas.getContext("2d");
  let drawn = "";

  function draw(column, scale, classes, width, signed) {
    const { line, muted, teacher, student } = getColours();
    pen.clearRect(0, 0, width, PANEL);
    pen.fillStyle = line;
    for (const y of [0, PANEL - 1]) pen.fillRect(0, y, width, 1);
    if (column.teacher) drawBars(pen, width, column.teacher, classes, 1, scale, teacher);
    drawBars(pen, width, column.student, classes, signed ? 1 : -1, scale, student);
    pen.fillStyle = muted;
    pen.fillRect(0, PANEL / 2 - 0.5, width, 1);
  }
  return {
    root, canvas,
    resize: (width) => prepare(canvas, width, PANEL),
    forget: () => (drawn = ""),
    paint(column, scale, classes, width, signed) {
      title.show(column.title);
      note.show(column.note);
      up.show(signed ? scale.ticks[2] : `teacher ↑ ${scale.ticks[2]}`);
      down.show(signed ? scale.ticks[0] : `student ↓ ${scale.ticks[2]}`);
      // A slider moves one method only; the other panels stay as they are.
      if (drawn.student === column.student && drawn.ticks === String(scale.ticks)) return;
      drawn = { student: column.student, ticks: String(scale.ticks) };
      draw(column, scale, classes, width, signed);
    },
  };
}

function createNameAxis(data, getColours) {
  const canvas = h("canvas", { class: "nk-canvas", "aria-hidden": "true" });
  const longest = Math.min(LONGEST_NAME, Math.max(...data.names.map((name) => name.length)));
  const upright = longest <= 2, height = 10 + 7 * longest, pen = canvas.getContext("2d");
  const shorten = (name) => (name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME - 1)}…` : name);

  function paint(width, classes, trueClass) {
    prepare(canvas, width, height);
    const { ink, muted, font } = getColours(), slot = width / classes.length;
    pen.font = `12px ${font}`;
    pen.textAlign = upright ? "center" : "right";
    for (let i = 0; i < classes.length; i += Math.ceil(NAME_STEP / slot)) {
      pen.save();
      pen.translate(i * slot + Math.min(slot, NAME_STEP) / 2 + (upright ? 0 : 4), upright ? 11 : 3);
      if (!upright) pen.rotate(-Math.PI / 2);
      pen.fillStyle = classes[i] === trueClass ? ink : muted;
      pen.fillText(shorten(data.names[classes[i]]), 0, 0);
      pen.restore();
    }
  }
  return { canvas, paint };
}

export function createSpectrum(data, getColours, onPick) {
  const panels = Array.from({ length: PANELS }, () => createPanel(getColours));
  const axis = createNameAxis(data, getColours);
  const line = h("i", { class: "nk-cursor" }), readout = label("p", { class: "nk-readout" });
  const chart = h("div", { class: "nk-long", tabindex: 0, role: "img" },
    ...panels.map((panel) => panel.root), axis.canvas, line);
  const root = h("div", { class: "nk-spectrum" }, chart, readout);
  let width = 0, classes = [], sample = null, last = null, cursor = 0;

  function say() {
    const c = classes[cursor];
    const parts = last[0].map(({ title, teacher, student }) =>
      `${title} ${teacher ? `${short(teacher[c])} / ` : ""}${short(student[c])}`);
    readout.show(`${data.names[c]}${c === sample.label ? " (true class)" : ""}: ${parts.join(" · ")}`);
    line.style.transform = `translateX(${(((cursor + 0.5) * width) / classes.length).toFixed(1)}px)`;
  }

  function paint(columns, scales, signed) {
    last = [columns, scales, signed];
    if (width === 0) return;
    panels.forEach((panel, k) => {
      hide(panel.root, k >= columns.length);
      if (k < columns.length) panel.paint(columns[k], scales[k], classes, width, signed);
    });
    say();
  }

  // New size, sample or theme: everything is drawn again.
  function restart() {
    for (const panel of panels) panel.forget();
    if (width === 0 || !sample) return;
    for (const panel of panels) panel.resize(width);
    axis.paint(width, classes, sample.label);
    if (last) paint(...last);
  }

  function move(to) {
    cursor = Math.min(classes.length - 1, Math.max(0, to));
    if (last && width) say();
  }

  function arrange(next) {
    sample = next;
    classes = sample.order;
    cursor = Math.min(cursor, classes.length - 1);
    chart.setAttribute("aria-label",
      `All ${classes.length} classes by the teacher's logits, first ${data.names[classes[0]]}. ` +
      "Arrow keys move the cursor; the line below reads the values.");
    last = null;
    restart();
  }
  chart.addEventListener("mousemove", ({ clientX }) =>
    move(Math.floor(((clientX - chart.getBoundingClientRect().left) / width) * classes.length)));
  chart.addEventListener("click", () => onPick(undefined, classes[cursor]));
  chart.addEventListener("keydown", (event) => {
    if (event.key === "Enter") onPick(undefined, classes[cursor]);
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    move(cursor + step);
    event.preventDefault();
  });
  const observer = new ResizeObserver(() => {
    if (chart.clientWidth === width) return;
    width = chart.clientWidth;
    restart();
  });
  observer.observe(chart);
  return { root, arrange, paint, restart, stop: () => observer.disconnect() };
}
