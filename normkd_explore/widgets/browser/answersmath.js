// What a black box shows of a row of logits, and what can be made of it, as normkd_explore.blackbox computes it.
const EPSILON = 1e-8, LEAST_REST = 1e-7, LARGEST_STD = 64, HALVINGS = 50, T_NORM = 2;

const total = (values) => values.reduce((all, value) => all + value, 0);
const byValue = (row) => Array.from(row.keys()).sort((a, b) => row[b] - row[a] || a - b);

export function softened(row, temperature) {
  const top = Math.max(...row), powers = Array.from(row, (z) => Math.exp((z - top) / temperature)), all = total(powers);
  return powers.map((power) => power / all);
}

// NormKD's temperature: 2 times the sample standard deviation, divisor C - 1. Equal values have none.
export function temperatureOf(row) {
  const mean = total(Array.from(row)) / row.length;
  return T_NORM * Math.sqrt(total(Array.from(row, (z) => (z - mean) ** 2)) / (row.length - 1));
}

// Probabilities, the `kept` largest of them, rounded to `digits` decimals; digits null rounds nothing.
export function answer(logits, digits, kept) {
  const p = softened(logits, 1), shown = new Set(byValue(p).slice(0, kept));
  const unit = digits === null ? null : 10 ** digits;
  return p.map((value, c) => (shown.has(c) ? (unit ? Math.round(value * unit) / unit : value) : 0));
}

// The std of a normal row whose softmax gives its largest value the probability `first`.
function stdOfFirst(first, scores, digits) {
  const least = digits === null ? LEAST_REST : 0.25 * 10 ** -digits;
  const rest = Math.max(1 - first, least), wanted = rest / Math.max(1 - rest, least);
  let low = 0, high = LARGEST_STD;
  for (let i = 0; i < HALVINGS; i++) {
    const middle = (low + high) / 2;
    const found = total(scores.slice(1).map((score) => Math.exp(middle * (score - scores[0]))));
    if (found > wanted) low = middle;
    else high = middle;
  }
  return low;
}

// The line that shown classes lie on, log p = center + slope * (score - where).
function line(logs, scores, first, digits) {
  if (logs.length < 3) return { center: logs[0], where: scores[0], slope: stdOfFirst(first, scores, digits) };
  const own = scores.slice(0, logs.length), where = total(own) / own.length, center = total(logs) / logs.length;
  const spread = total(own.map((score) => (score - where) ** 2));
  const slope = total(own.map((score, r) => (score - where) * (logs[r] - center))) / Math.max(spread, 2 ** -52);
  return { center, where, slope };
}

// What all hidden classes of a row get.
function fillOf(p, order, shown, { remedy, digits }, scores) {
  if (remedy === "epsilon") return Math.log(EPSILON);
  const smallest = p[order[shown - 1]], most = digits === null ? smallest : 0.5 * 10 ** -digits;
  const hidden = p.length - shown;
  if (remedy === "floor")
    return Math.log(digits === null ? Math.min(most, Math.max(1 - total(p), LEAST_REST) / hidden) : most);
  const { center, where, slope } = line(order.slice(0, shown).map((c) => Math.log(p[c])), scores, p[order[0]], digits);
  const values = scores.slice(shown).map((score) => Math.min(center + slope * (score - where), Math.log(most)));
  return total(values) / hidden;
}

// Logits up to a shift, from an answer in which 0 stands for what is not shown.
export function logitsFrom(p, how, scores) {
  const order = byValue(p), shown = p.filter((value) => value > 0).length;
  if (shown === 0) return p.map(() => -Math.log(p.length));
  const fill = shown === p.length ? 0 : fillOf(p, order, shown, how, scores);
  return p.map((value) => (value > 0 ? Math.log(value) : fill));
}

// Everything that the page says of one sample: t of the logits themselves, v of what is visible.
export function seen(logits, { digits, kept, remedy }, scores) {
  const p = answer(logits, digits, kept), row = logitsFrom(p, { digits, remedy }, scores);
  const [T, V] = [temperatureOf(logits), temperatureOf(row)];
  const t = softened(logits, T), v = V > 1e-9 ? softened(row, V) : row.map(() => 1 / row.length);
  const kl = total(t.map((value, c) => value * Math.log(value / v[c])));
  return { answer: p, shown: p.filter((value) => value > 0).length, true: T, visible: V, t, v, kl };
}
