// The federation explorer: what eight clients say of a picture, some of whom may lie, and what the server concludes
// from it by each rule. All of it is computed here, while a slider moves.
import { float32Rows, pictureUrl } from "./bytes.js";
import { choice, fixed, frameGate, h, label, percent, slider } from "./dom.js";
import { RULES, deviation, firstChoice, forge, outlierScores, softmax } from "./federatedmath.js";

const ATTACKS = {
  pcfdla: ["PCFDLA", "a peak of chosen height on the client's own second choice"],
  fdla: ["FDLA", "every value goes one rank down"],
  random: ["Random", "noise of std 10"],
};
const WALK = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1, Home: -Infinity, End: Infinity };
const T_NORM = 2;

function readFederation(model) {
  const setup = model.get("_setup"), count = setup.labels.length;
  const split = (bytes, clients) => {
    const rows = float32Rows(bytes, clients * count);
    return Array.from({ length: clients }, (_, k) => rows.slice(k * count, (k + 1) * count));
  };
  return {
    ...setup, count, logits: split(model.get("_logits"), setup.clients), noise: split(model.get("_noise"), setup.most),
    url: pictureUrl(model.get("_sprite")),
  };
}

// Every rule's answers and how many of them are right.
export function conclude(data, state) {
  const uploads = forge(data.logits, data.noise, state);
  const probabilities = uploads.map((rows) => rows.map(softmax));
  const answers = {}, right = {};
  for (const { key } of data.rules) {
    answers[key] = RULES[key](uploads, probabilities, data.eta);
    right[key] = answers[key].filter((row, n) => firstChoice(row) === data.labels[n]).length;
  }
  return { uploads, probabilities, answers, right, scores: outlierScores(probabilities) };
}

function showTile(node, data, n) {
  const rows = Math.ceil(data.count / data.columns), place = (i, all) => (all > 1 ? (100 * i) / (all - 1) : 0);
  node.style.backgroundImage = `url(${data.url})`;
  node.style.backgroundSize = `${100 * data.columns}% ${100 * rows}%`;
  node.style.backgroundPosition =
    `${place(n % data.columns, data.columns)}% ${place(Math.floor(n / data.columns), rows)}%`;
}

// One speaker: a bar for each class, above its class's column.
function createVoice(data, title, className) {
  const bars = data.class_names.map(() => h("i"));
  const badge = label("small", { class: "nk-fed-badge" }), said = label("b"), sure = label("small"), mark = label("b");
  const root = h("div", { class: `nk-fed-voice ${className}`, role: "group" },
    h("div", { class: "nk-fed-name" }, h("b", {}, title), badge),
    h("div", { class: "nk-fed-bars", "aria-hidden": "true" }, ...bars.map((bar) => h("span", {}, bar))),
    h("div", { class: "nk-fed-says" }, said, sure, mark));
  const paint = (row, truth, { note = "", lies = false } = {}) => {
    const first = firstChoice(row), right = first === truth;
    bars.forEach((bar, c) => {
      bar.style.transform = `scaleY(${row[c].toFixed(4)})`;
      bar.parentNode.classList.toggle("nk-fed-true", c === truth);
    });
    said.show(`“${data.class_names[first]}”`);
    sure.show(percent(row[first]));
    mark.show(right ? "✓" : "✗");
    badge.show(note);
    root.classList.toggle("nk-fed-lies", lies);
    root.classList.toggle("nk-fed-right", right);
    const spoken = `says ${data.class_names[first]}, ${percent(row[first])}, ${right ? "right" : "wrong"}`;
    root.setAttribute("aria-label", `${title} ${spoken}${note ? `; ${note}` : ""}`);
  };
  return { root, paint };
}

function createVoices(data) {
  const clients = data.logits.map((_, k) => createVoice(data, `client ${k + 1}`, "nk-fed-client"));
  const server = createVoice(data, "server", "nk-fed-server");
  const classes = h("div", { class: "nk-fed-classes", "aria-hidden": "true" }, h("span"),
    h("div", {}, ...data.class_names.map((name) => h("span", {}, name))), h("span"));
  const root = h("section", { class: "nk-fed-voices" }, h("header", {}, h("h3", {}, "What each client says"),
    h("small", {}, "a bar a class; outlier: distance to the median of all")),
    ...clients.map(({ root: node }) => node), server.root, classes);
  const paint = (found, state, truth) => {
    const honest = data.clients - state.attackers;
    clients.forEach((client, k) => client.paint(found.probabilities[k][state.sample], truth, {
      lies: k >= honest, note: `${k >= honest ? "lies · " : ""}outlier ${fixed(found.scores[k])}`,
    }));
    server.paint(softmax(found.answers[state.rule][state.sample]), truth, { note: titleOf(data, state.rule) });
  };
  return { root, paint };
}

const titleOf = (data, rule) => data.rules.find(({ key }) => key === rule).title;

// The rules as a list of radio buttons, each with the share of pictures it gets right.
function createRules(data, onChange) {
  const group = `nk-fed-${Math.random().toString(36).slice(2)}`;
  const rows = data.rules.map(({ key, title }) => {
    const input = h("input", {
      type: "radio", name: group, value: key, "data-key": "rule", onchange: () => onChange(key),
    });
    const bar = h("i"), before = h("u"), number = label("b", { "data-right": key });
    const root = h("label", { class: "nk-fed-rule" }, input, h("span", {}, title),
      h("span", { class: "nk-fed-track", "aria-hidden": "true" }, bar, before), number);
    return { key, input, bar, before, number, root };
  });
  const root = h("section", { class: "nk-fed-rules" }, h("header", {}, h("h3", {}, "What the server makes of it"),
    h("small", {}, `answers right, of ${data.count} pictures; the line: without liars`)),
    h("div", { role: "radiogroup", "aria-label": "Rule of the server" }, ...rows.map((row) => row.root)));
  const paint = (right, clean, chosen) => rows.forEach(({ key, input, bar, before, number, root: row }) => {
    input.checked = key === chosen;
    row.classList.toggle("nk-fed-chosen", key === chosen);
    row.classList.toggle("nk-fed-fallen", right[key] < 0.8 * clean[key]);
    bar.style.width = `${(100 * right[key]) / data.count}%`;
    before.style.left = `${(100 * clean[key]) / data.count}%`;
    number.show(`${right[key]}`);
  });
  return { root, paint };
}

function createPictures(data, state, onSelect) {
  const tiles = data.labels.map((y, n) => {
    const tile = h("div", { role: "option", tabindex: -1, class: "nk-fed-tile", "data-sample": n,
      "aria-label": `Picture ${n}, ${data.class_names[y]}`, onclick: () => onSelect(n) });
    showTile(tile, data, n);
    return tile;
  });
  const list = h("div", {
    class: "nk-fed-pictures", role: "listbox", "aria-label": "Pictures", onkeydown: walk,
  }, ...tiles);
  let shown = null;

  // Keys can come faster than frames: they count from the state, not from what is painted.
  function walk(event) {
    if (!(event.key in WALK)) return;
    const next = Math.min(data.count - 1, Math.max(0, state().sample + WALK[event.key]));
    onSelect(next);
    tiles[next].focus({ preventScroll: true });
    event.preventDefault();
  }

  const paint = ({ sample }, rows) => {
    tiles.forEach((tile, n) => tile.classList.toggle("nk-fed-missed", firstChoice(rows[n]) !== data.labels[n]));
    if (sample === shown) return;
    tiles.forEach((tile, n) => {
      tile.setAttribute("aria-selected", String(n === sample));
      tile.tabIndex = n === sample ? 0 : -1;
    });
    const { offsetLeft, offsetWidth } = tiles[sample], left = offsetLeft - list.offsetLeft;
    if (left < list.scrollLeft || left + offsetWidth > list.scrollLeft + list.clientWidth)
      list.scrollLeft = left - list.clientWidth / 2;
    shown = sample;
  };
  const root = h("section", {}, h("header", {}, h("h3", {}, "Pictures"),
    h("small", { class: "nk-hint" }, "click one or walk with the arrow keys; crossed out: the server is wrong")), list);
  return { root, paint };
}

function createControls(data, change, save) {
  const [min, max, step] = data.limits;
  const numbers = Array.from({ length: data.most + 1 }, (_, m) => [m, [`${m}`, `${m} of ${data.clients} lie`]]);
  const attackers = choice({
    name: "Clients that lie", key: "attackers", options: Object.fromEntries(numbers),
    onChange: (value) => change({ attackers: Number(value) }, true),
  });
  const attack = choice({
    name: "Attack", key: "attack", options: ATTACKS, onChange: (value) => change({ attack: value }, true),
  });
  const strength = slider({
    name: "strength", hint: "height s of PCFDLA's peak", key: "strength", min, max, step,
    onInput: (value) => change({ strength: value }), onRelease: save,
  });
  const root = h("section", { class: "nk-fed-controls" }, h("div", { class: "nk-choices" },
    h("span", { class: "nk-fed-control" }, h("small", {}, `liars of ${data.clients}`), attackers),
    h("span", { class: "nk-fed-control" }, h("small", {}, "attack"), attack)), strength);
  const paint = (state) => {
    attackers.show(String(state.attackers));
    attack.show(state.attack);
    strength.show(state.strength);
    const idle = state.attack !== "pcfdla" || state.attackers === 0;
    strength.classList.toggle("nk-fed-idle", idle);
    strength.querySelector("input").disabled = idle;
  };
  return { root, paint };
}

function headline(data, { attackers, rule, sample }, found, clean) {
  const said = data.class_names[firstChoice(found.answers[rule][sample])];
  const truth = data.class_names[data.labels[sample]];
  const liars = attackers === 0 ? "Nobody lies" : `${attackers} of ${data.clients} ${attackers === 1 ? "lies" : "lie"}`;
  const without = attackers === 0 ? "" : `, without liars ${clean.right[rule]}`;
  const share = `${found.right[rule]} of ${data.count} pictures${without}`;
  const all = `${liars}: by ${titleOf(data, rule)} the server is right about ${share}.`;
  return [all, said === truth ? `It reads this “${truth}” as what it is.` : `It takes this “${truth}” for “${said}”.`];
}

function weightLine(state, found, clean) {
  const weight = ({ answers }) => (T_NORM * deviation(answers[state.rule][state.sample])) ** 2;
  const text = (value) => fixed(value, value < 10 ? 1 : 0);
  const now = `NormKD would count this answer ${text(weight(found))} times: (${T_NORM} · std)²`;
  return state.attackers === 0 ? `${now}.` : `${now}; without liars ${text(weight(clean))} times.`;
}

function render({ model, el }) {
  const data = readFederation(model);
  let state = { ...model.get("state") };
  const clean = conclude(data, { ...state, attackers: 0 });
  const save = () => {
    model.set("state", { ...state });
    model.save_changes();
  };
  const change = (part, atOnce = false) => {
    state = { ...state, ...part };
    repaint();
    if (atOnce) save();
  };
  const controls = createControls(data, change, save), voices = createVoices(data);
  const rules = createRules(data, (rule) => change({ rule }, true));
  const pictures = createPictures(data, () => state, (sample) => change({ sample }, true));
  const portrait = h("span", { class: "nk-portrait nk-fed-portrait" });
  const claim = label("p", { class: "nk-fed-claim" }), one = label("p");
  const weight = label("p", { class: "nk-fed-weight" });

  function paint() {
    const found = state.attackers === 0 ? clean : conclude(data, state), truth = data.labels[state.sample];
    controls.paint(state);
    showTile(portrait, data, state.sample);
    const [first, second] = headline(data, state, found, clean);
    claim.show(first);
    one.show(second);
    weight.show(weightLine(state, found, clean));
    voices.paint(found, state, truth);
    rules.paint(found.right, clean.right, state.rule);
    pictures.paint(state, found.answers[state.rule]);
  }
  const repaint = frameGate(paint);
  const fromPython = () => {
    state = { ...model.get("state") };
    repaint();
  };
  el.append(h("div", { class: "nk nk-fed" }, controls.root,
    h("section", { class: "nk-fed-head" }, portrait, h("div", {}, claim, one, weight)),
    h("div", { class: "nk-fed-panels" }, voices.root, rules.root), pictures.root));
  model.on("change:state", fromPython);
  repaint();
  return () => {
    model.off("change:state", fromPython);
    URL.revokeObjectURL(data.url);
  };
}

export default { render };
