// The method grid: a table of policies and divergences in which one cell is chosen, and what that cell makes of one
// sample. All numbers came with the page; choosing a cell only looks them up, so it works without a kernel.
import { float32s, float64s } from "./bytes.js";
import { choice, fixed, frameGate, h, label } from "./dom.js";

const BARS = 10, DECADES = 3;
const QUANTITIES = {
  loss: ["Loss", "batch mean of weight · divergence"],
  length: ["‖Gradient‖", "batch mean of the length of each sample's gradient"],
  weight: ["Weight", "batch mean of the factor of each sample's divergence"],
  cosine: ["Scale cosine", "cosine of gradient and centred student logits: 0 leaves their scale alone"],
};
const FACTS = [
  ["temperature_t", "temperature, teacher"], ["temperature_s", "temperature, student"],
  ["weight", "weight"], ["loss", "loss"], ["length", "‖gradient‖"], ["cosine", "scale cosine"],
];
const WALK = {
  ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0],
  Home: [0, -Infinity], End: [0, Infinity], PageUp: [-Infinity, 0], PageDown: [Infinity, 0],
};

// Three digits or so; figures/grid.py writes the same texts.
export function brief(value) {
  if (!Number.isFinite(value)) return "refused";
  const size = Math.abs(value);
  if (size < 1e-6) return "0";
  if (size < 1e-3) return value.toExponential(0).replaceAll("-", "−");
  return fixed(value, size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

function readGrid(model) {
  const setup = model.get("_setup"), samples = setup.labels.length, classes = setup.class_names.length;
  const all = float64s(model.get("_numbers")), kinds = setup.numbers.length;
  const gradients = float32s(model.get("_gradients"));
  const columns = setup.divergences.length;
  const series = (cell, name) => {
    const start = (cell * kinds + setup.numbers.indexOf(name)) * samples;
    return all.subarray(start, start + samples);
  };
  const gradient = (cell, n) => {
    const start = (cell * samples + n) * classes;
    return gradients.subarray(start, start + classes);
  };
  const index = (list, name) => list.findIndex((part) => part.name === name);
  return {
    ...setup, samples, columns, series, gradient,
    mean: (cell, name) => series(cell, name).reduce((sum, value) => sum + value, 0) / samples,
    row: (state) => index(setup.policies, state.policy),
    column: (state) => index(setup.divergences, state.divergence),
    cell: (row, column) => row * columns + column,
  };
}

function createTable(grid, { state, onSelect }) {
  const at = (row, column) => ({ policy: grid.policies[row].name, divergence: grid.divergences[column].name });
  const cells = grid.policies.map((policy, row) => grid.divergences.map((divergence, column) => {
    const number = label("span", { class: "nk-grid-number" }), names = grid.methods[grid.cell(row, column)];
    const node = h("td", {
      role: "gridcell", tabindex: -1, "data-cell": `${policy.name}|${divergence.name}`,
      onclick: () => onSelect(at(row, column)),
    }, number, h("small", {}, names));
    return { node, number, names };
  }));
  const head = h("tr", {}, h("th", { scope: "col" }, h("small", {}, "policy \\ divergence")),
    ...grid.divergences.map(({ name, text }) => h("th", { scope: "col", title: text }, ...breakable(name))));
  const body = grid.policies.map(({ name, text }, row) =>
    h("tr", {}, h("th", { scope: "row", title: text }, name), ...cells[row].map(({ node }) => node)));
  const table = h("table", { class: "nk-grid-table", role: "grid", "aria-label": "Policies and divergences", onkeydown: walk },
    h("thead", {}, head), h("tbody", {}, ...body));
  let shown = {};

  // Keys can come faster than frames: they count from the state, not from what is painted.
  function walk(event) {
    const [down, right] = WALK[event.key] ?? [];
    if (down === undefined) return;
    const clamp = (value, count) => Math.min(count - 1, Math.max(0, value));
    const row = clamp(grid.row(state()) + down, grid.policies.length);
    const column = clamp(grid.column(state()) + right, grid.columns);
    onSelect(at(row, column));
    cells[row][column].node.focus();
    event.preventDefault();
  }

  function fill(quantity) {
    const values = cells.map((line, row) => line.map((_, column) => grid.mean(grid.cell(row, column), quantity)));
    const largest = Math.max(...values.flat().map(Math.abs).filter(Number.isFinite), 1e-300);
    cells.forEach((line, row) => line.forEach(({ node, number, names }, column) => {
      const value = values[row][column], share = 1 + Math.log10(Math.max(Math.abs(value) / largest, 1e-300)) / DECADES;
      number.show(brief(value));
      node.style.setProperty("--nk-share", `${(42 * Math.min(1, Math.max(0, share || 0))).toFixed(1)}%`);
      node.classList.toggle("nk-refused", !Number.isFinite(value));
      const { policy, divergence } = at(row, column);
      node.setAttribute("aria-label",
        `${policy} with ${divergence}${names ? `, ${names}` : ""}: ${QUANTITIES[quantity][0]} ${brief(value)}`);
    }));
  }

  function paint(now) {
    if (now.quantity !== shown.quantity) fill(now.quantity);
    cells.flat().forEach(({ node }, i) => {
      const chosen = i === grid.cell(grid.row(now), grid.column(now));
      node.setAttribute("aria-selected", String(chosen));
      node.tabIndex = chosen ? 0 : -1;
    });
    shown = now;
  }
  return { root: h("div", { class: "nk-grid-scroll" }, table), paint };
}

// A narrow column may break a name before a capital and before its settings.
function breakable(name) {
  return name.split(/(?<=[a-z])(?=[A-Z])|(?=\()/).flatMap((part, i) => (i ? [h("wbr"), part] : [part]));
}

function createBars(grid) {
  const rows = Array.from({ length: Math.min(BARS, grid.class_names.length) }, () => {
    const name = label("span", { class: "nk-name" }), bar = h("i"), number = label("span");
    const root = h("li", {}, name, h("span", { class: "nk-grid-track" }, bar), number);
    return { root, name, bar, number };
  });
  const note = label("small");
  const root = h("div", { class: "nk-grid-bars" }, h("h4", {}, "Gradient on the student's logits"), note,
    h("ol", {}, ...rows.map((row) => row.root)));
  const paint = (cell, sample) => {
    const gradient = grid.gradient(cell, sample), label_ = grid.labels[sample];
    const order = Array.from(gradient.keys()).sort((a, b) => Math.abs(gradient[b]) - Math.abs(gradient[a]) || a - b);
    const classes = order.slice(0, rows.length), end = Math.abs(gradient[classes[0]]) || 1;
    note.show(`the ${rows.length} largest of ${gradient.length}; a descent step moves a logit against its bar`);
    rows.forEach(({ root: line, name, bar, number }, i) => {
      const c = classes[i], share = (gradient[c] / end) * 50;
      name.show(`${grid.class_names[c]}${c === label_ ? " (true)" : ""}`);
      number.show(brief(gradient[c]));
      line.dataset.class = c;
      bar.style.left = `${share < 0 ? 50 + share : 50}%`;
      bar.style.width = `${Math.abs(share || 0)}%`;
    });
    root.hidden = !Number.isFinite(gradient[0]);
  };
  return { root, paint };
}

function createDetail(grid) {
  const title = label("h3"), names = label("small"), policy = label("pre"), divergence = label("pre");
  const problem = label("p", { class: "nk-grid-problem", role: "alert" });
  const values = FACTS.map(([key, name]) => {
    const one = label("td", { "data-value": key }), mean = label("td", { "data-mean": key });
    return { key, one, mean, root: h("tr", {}, h("th", { scope: "row" }, name), one, mean) };
  });
  const table = h("table", { class: "nk-grid-facts" }, h("thead", {}, h("tr", {}, h("th", { "aria-label": "quantity" }),
    h("th", { scope: "col" }, "this sample"), h("th", { scope: "col" }, "batch mean"))),
    h("tbody", {}, ...values.map((value) => value.root)));
  const bars = createBars(grid);
  const root = h("section", { class: "nk-card", "aria-label": "Chosen combination" },
    h("header", {}, title, names), h("div", { class: "nk-grid-formulas" }, policy, divergence), problem,
    h("div", { class: "nk-grid-panels" }, table, bars.root));
  const paint = (state) => {
    const row = grid.row(state), column = grid.column(state), cell = grid.cell(row, column);
    title.show(`${state.policy} × ${state.divergence}`);
    names.show(grid.methods[cell] || "no registered method");
    policy.show(grid.policies[row].text);
    divergence.show(grid.divergences[column].text);
    problem.show(grid.problems[cell]);
    problem.hidden = !grid.problems[cell];
    for (const { key, one, mean } of values) {
      one.show(brief(grid.series(cell, key)[state.sample]));
      mean.show(brief(grid.mean(cell, key)));
    }
    bars.paint(cell, state.sample);
  };
  return { root, paint };
}

function createControls(grid, change) {
  const verdict = (n) => (grid.tops[n] === grid.labels[n] ? "teacher right" : `teacher says ${grid.class_names[grid.tops[n]]}`);
  const sample = h("select", {
    class: "nk-select", "aria-label": "Sample", "data-key": "sample", onchange: () => change({ sample: Number(sample.value) }),
  }, ...grid.labels.map((y, n) => h("option", { value: n }, `#${n} ${grid.class_names[y]}, ${verdict(n)}`)));
  const quantity = choice({ name: "Number in the cells", key: "quantity", options: QUANTITIES, onChange: (value) => change({ quantity: value }) });
  const root = h("div", { class: "nk-choices" }, quantity, h("label", { class: "nk-sort" }, "sample ", sample));
  const paint = (state) => {
    quantity.show(state.quantity);
    if (Number(sample.value) !== state.sample) sample.value = state.sample;
  };
  return { root, paint };
}

function render({ model, el }) {
  const grid = readGrid(model);
  let state = { ...model.get("state") };
  const change = (part) => {
    state = { ...state, ...part };
    repaint();
    model.set("state", { ...state });
    model.save_changes();
  };
  const table = createTable(grid, { state: () => state, onSelect: change });
  const controls = createControls(grid, change), detail = createDetail(grid);
  const repaint = frameGate(() => [controls, table, detail].forEach((part) => part.paint(state)));
  const fromPython = () => {
    state = { ...model.get("state") };
    repaint();
  };
  el.append(h("div", { class: "nk nk-grid" },
    h("section", {}, h("header", {}, h("h3", {}, "Every policy with every divergence"),
      h("small", { class: "nk-hint" }, "click a cell, or walk with the arrow keys")), controls.root, table.root),
    detail.root));
  model.on("change:state", fromPython);
  repaint();
  return () => model.off("change:state", fromPython);
}

export default { render };
