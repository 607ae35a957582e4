// All test images at once, under one T and under one T_norm of the same median softness: two clouds of dots.
import { fixed, frameGate, h, label } from "./dom.js";
import { createKnob } from "./knob.js";
import { std } from "./formulas.js";
import { placeInBand, roundClasses, temperatureText } from "./softness.js";

const CLOUD_HEIGHT = 300, CLOUD_MARGIN = { left: 36, right: 10, top: 10, bottom: 40 };

function readRows({ logits, step, count }) {
  const bytes = Uint8Array.from(atob(logits), (letter) => letter.charCodeAt(0));
  const numbers = new Int16Array(bytes.buffer), width = numbers.length / count;
  return Array.from({ length: count }, (_, n) => {
    const row = Float32Array.from(numbers.subarray(n * width, (n + 1) * width), (value) => value * step);
    const top = row.reduce((a, b) => Math.max(a, b)), spread = std(Float64Array.from(row));
    return { z: row.map((value) => value - top), spread };
  });
}

// Entropy from shifted logits in one pass: log S − Σ e·u / S.
function classesOf(z, T) {
  let sum = 0, weighted = 0;
  for (let c = 0; c < z.length; c++) {
    const u = z[c] / T, e = Math.exp(u);
    sum += e;
    weighted += e * u;
  }
  return Math.exp(Math.log(sum) - weighted / sum);
}

const quantile = (sorted, share) => {
  const at = share * (sorted.length - 1), low = Math.floor(at);
  return sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
};

function createPanel(title, { band, names, cloud }, rows) {
  const canvas = h("canvas", { height: CLOUD_HEIGHT, role: "img" }), facts = label("p", { class: "nk-say" }), heading = label("h4");
  const hover = label("span", { class: "nk-cloud-hover", "aria-hidden": "true" });
  const root = h("div", { class: "nk-cloud-panel" }, heading, h("div", { class: "nk-cloud-plot" }, canvas, hover), facts);
  const spreads = rows.map(({ spread }) => spread), ends = [Math.min(...spreads) - 0.3, Math.max(...spreads) + 0.3];
  const most = rows[0].z.length;
  let values = [], frame = null;

  const measure = () => {
    const width = canvas.clientWidth, across = width - CLOUD_MARGIN.left - CLOUD_MARGIN.right;
    const down = CLOUD_HEIGHT - CLOUD_MARGIN.top - CLOUD_MARGIN.bottom;
    return { width, x: (s) => CLOUD_MARGIN.left + (across * (s - ends[0])) / (ends[1] - ends[0]), y: (k) => CLOUD_MARGIN.top + down * (1 - k / most) };
  };

  function draw() {
    const ink = getComputedStyle(root), colour = (name) => ink.getPropertyValue(name).trim();
    const ratio = window.devicePixelRatio || 1, pen = canvas.getContext("2d");
    frame = measure();
    if (!frame.width) return;
    canvas.width = frame.width * ratio;
    canvas.height = CLOUD_HEIGHT * ratio;
    pen.scale(ratio, ratio);
    pen.globalAlpha = 0.25;
    pen.fillStyle = colour("--nk-band");
    const right = frame.width - CLOUD_MARGIN.right;
    pen.fillRect(CLOUD_MARGIN.left, frame.y(band[1]), right - CLOUD_MARGIN.left, frame.y(band[0]) - frame.y(band[1]));
    pen.globalAlpha = 1;
    drawAxes(pen, frame, right, colour("--nk-ink"));
    pen.globalAlpha = 0.55;
    const [inside, outside] = [colour("--nk-band"), colour("--nk-teacher")];
    values.forEach((value, n) => {
      pen.fillStyle = placeInBand(value, band) === "inside" ? inside : outside;
      pen.fillRect(frame.x(spreads[n]) - 1.5, frame.y(value) - 1.5, 3, 3);
    });
    pen.globalAlpha = 1;
  }

  function drawAxes(pen, { x, y }, right, ink) {
    pen.fillStyle = pen.strokeStyle = ink;
    pen.font = "13px system-ui, sans-serif";
    pen.textAlign = "right";
    for (const k of [1, 25, 50, 75, 100].filter((tick) => tick <= most)) pen.fillText(String(k), CLOUD_MARGIN.left - 6, y(k) + 4);
    pen.textAlign = "center";
    for (const s of [4, 6, 8, 10].filter((tick) => tick > ends[0] && tick < ends[1])) pen.fillText(String(s), x(s), CLOUD_HEIGHT - 22);
    pen.textAlign = "left";
    pen.fillText("std of the logits", CLOUD_MARGIN.left, CLOUD_HEIGHT - 5);
    pen.beginPath();
    pen.moveTo(CLOUD_MARGIN.left, CLOUD_MARGIN.top);
    pen.lineTo(CLOUD_MARGIN.left, y(0));
    pen.lineTo(right, y(0));
    pen.stroke();
  }

  function paint(words, temperatureOf) {
    values = rows.map((row) => classesOf(row.z, temperatureOf(row)));
    const sorted = Float64Array.from(values).sort(), inside = values.filter((value) => placeInBand(value, band) === "inside").length;
    const [low, high] = [quantile(sorted, 0.05), quantile(sorted, 0.95)].map(roundClasses);
    heading.show(words);
    facts.show(`90 % of the images keep ${low} to ${high} classes; ${fixed((100 * inside) / values.length, inside < values.length && inside > 0.995 * values.length ? 1 : 0)} % are in the green band.`);
    canvas.setAttribute("aria-label", `${title}: effective classes against the std of the logits. ${facts.textContent}`);
    root.dataset.low = low;
    root.dataset.high = high;
    draw();
  }

  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect(), at = [event.clientX - box.left, event.clientY - box.top];
    let best = 400, found = null;
    values.forEach((value, n) => {
      const away = (frame.x(spreads[n]) - at[0]) ** 2 + (frame.y(value) - at[1]) ** 2;
      if (away < best) [best, found] = [away, n];
    });
    hover.show(found === null ? "" : `${names[cloud.labels[found]]}: ${roundClasses(values[found])} classes`);
    hover.style.transform = found === null ? "" : `translate(${Math.min(at[0] + 8, frame.width - 110)}px, ${Math.max(0, at[1] - 28)}px)`;
  });
  canvas.addEventListener("pointerleave", () => hover.show(""));
  return { root, paint, draw };
}

export function createCloud(data) {
  const rows = readRows(data.cloud), { t_norms, T } = data.cloud;
  const panels = { kd: createPanel("KD", data, rows), normkd: createPanel("NormKD", data, rows) };
  let t_norm = 1;
  const knob = createKnob({ name: "T_norm", key: "cloud", values: t_norms, text: temperatureText, onInput: (value) => {
    t_norm = value;
    repaint();
  } });
  const repaint = frameGate(() => {
    const one = T[t_norms.indexOf(t_norm)];
    knob.show(t_norm);
    panels.kd.paint(`KD: T = ${temperatureText(one)} for all`, () => one);
    panels.normkd.paint(`NormKD: T = ${temperatureText(t_norm)} · std`, (row) => t_norm * row.spread);
  });
  const root = h("div", { class: "nk nk-front nk-cloud" }, knob.root,
    h("p", { class: "nk-hint" }, "KD’s T follows, so that the median image keeps equally many classes left and right."),
    h("div", { class: "nk-two" }, panels.kd.root, panels.normkd.root));
  new ResizeObserver(repaint).observe(root);
  new MutationObserver(repaint).observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  return root;
}
