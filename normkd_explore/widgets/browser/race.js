// The race, live: facts of the running seed, the chart, the leaderboard. The kernel sends what it measured a few
// times a second; this page only draws it, so it keeps up while the kernel is busy.
import { fixed, frameGate, h, label } from "./dom.js";
import { createChart, marker, shape } from "./racechart.js";

const NONE = "–";
const COLUMNS = {
  last: ["newest", "newest seed, newest evaluated epoch"],
  mean: ["mean", "last epoch, mean over the seeds that are complete"],
  n: ["seeds", "seeds that are complete"],
};
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

// "42 s", "3 min 20 s", "2 h 05 min".
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return NONE;
  const s = Math.round(seconds), two = (number) => String(number).padStart(2, "0");
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
  const minutes = Math.round(s / 60);
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
}

function facts(phase, p) {
  const of = (value, all) => (value === undefined ? NONE : `${whole.format(value)} of ${whole.format(all)}`);
  const over = phase === "finished";
  return {
    Seed: p.seed === undefined ? NONE : `${p.seed} (${of(p.lap, p.laps)})`,
    Epoch: of(p.epoch, p.epochs),
    Step: of(p.step, p.steps),
    "Images/s": p.images_per_second ? whole.format(p.images_per_second) : NONE,
    "Time left": over ? "0 s" : duration(p.seconds_left ?? NaN),
  };
}

function createProgress() {
  const cells = Object.fromEntries(Object.keys(facts("", {})).map((name) => [name, label("strong", { "data-fact": name })]));
  const list = h("div", { class: "nk-race-facts" }, ...Object.entries(cells).map(([name, cell]) =>
    h("div", {}, h("small", {}, name), " ", cell)));
  const fill = h("i"), bar = h("div", {
    class: "nk-race-bar", role: "progressbar", "aria-label": "The whole race", "aria-valuemin": 0, "aria-valuemax": 100,
  }, fill);
  const paint = ({ phase, progress }) => {
    const texts = facts(phase, progress), laps = progress.laps ?? 1;
    const share = phase === "finished" ? 1 : ((progress.lap ?? 1) - 1 + (progress.share ?? 0)) / laps;
    for (const [name, cell] of Object.entries(cells)) cell.show(texts[name]);
    fill.style.width = `${(100 * share).toFixed(2)}%`;
    bar.setAttribute("aria-valuenow", Math.round(100 * share));
    bar.setAttribute("aria-valuetext", `${Math.round(100 * share)} %, seed ${texts.Seed}, epoch ${texts.Epoch}`);
  };
  return { list, bar, paint };
}

function swatch({ colour, dasharray, marker: kind }) {
  return shape("svg", { width: 34, height: 12, "aria-hidden": "true" },
    shape("path", { d: "M0 6H34", stroke: colour, "stroke-dasharray": dasharray, class: "nk-race-line" }),
    shape("path", { d: marker(kind, 17, 6, 4), fill: colour, class: "nk-race-points" }));
}

// The rows keep their elements and change places, so that a reader's selection survives.
function createBoard(methods) {
  const rows = Object.fromEntries(methods.map((method) => {
    const cells = Object.fromEntries(Object.keys(COLUMNS).map((key) => [key, label("td", { "data-value": `${method.name}.${key}` })]));
    const node = h("tr", {}, h("th", { scope: "row" }, h("div", {}, swatch(method), h("span", { title: method.name }, method.name))),
      ...Object.values(cells));
    return [method.name, { node, cells }];
  }));
  const heads = Object.fromEntries(Object.entries(COLUMNS).map(([key, [name, title]]) => [key, h("th", { scope: "col", title }, name)]));
  const body = h("tbody"), caption = label("caption");
  const root = h("table", { class: "nk-race-board" }, caption,
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "method"), ...Object.values(heads))), body);
  let shown = "";
  const paint = ({ board, by, split }) => {
    const number = (value) => (value === null ? NONE : fixed(value, 2));
    caption.show(`Top-1 on ${split}, %`);
    for (const [key, head] of Object.entries(heads)) head.setAttribute("aria-sort", key === by ? "descending" : "none");
    for (const { method, last, mean, n } of board) {
      const { cells, node } = rows[method];
      node.classList.toggle("nk-race-first", method === board[0].method && board[0][by] !== null);
      cells.last.show(number(last));
      cells.mean.show(number(mean));
      cells.n.show(String(n));
    }
    const order = board.map(({ method }) => method);
    if (order.join("\n") !== shown) body.replaceChildren(...order.map((name) => rows[name].node));
    shown = order.join("\n");
  };
  return { root, paint };
}

function render({ model, el }) {
  const { methods, smooth } = model.get("_setup");
  const progress = createProgress(), chart = createChart(methods), board = createBoard(methods);
  const phase = label("small", { class: "nk-race-phase" }), legend = label("p", { class: "nk-legend" });
  const root = h("div", { class: "nk nk-race" },
    h("section", { class: "nk-card", "aria-label": "Race of the students" },
      h("header", {}, h("h3", {}, "Race: top-1 (%) on the same batches"), phase),
      progress.list, progress.bar, h("div", { class: "nk-race-panels" }, chart.root, board.root), legend));
  const paint = () => {
    const status = model.get("_status"), now = model.get("_now");
    phase.show(status.phase);
    root.dataset.phase = status.phase;
    progress.paint(status);
    board.paint(status);
    chart.paint(now.ends ? [...model.get("_past"), now] : [], status.split);
    legend.show(`Lines: training batches, each value the mean over the last ${whole.format(smooth)} images or more. ` +
      `Points: ${status.split} after each epoch. Thin and faint: earlier seeds.`);
  };
  const repaint = frameGate(paint), events = "change:_past change:_now change:_status";
  el.append(root);
  model.on(events, repaint);
  repaint();
  return () => {
    model.off(events, repaint);
    chart.stop();
  };
}

export default { render };
