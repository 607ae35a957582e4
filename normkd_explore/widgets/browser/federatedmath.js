// What attackers upload and what a server concludes, as normkd_explore.federated computes it. Votes are K lists of N
// rows of C numbers; every rule gives N rows of logits.
const LEAST_PROBABILITY = 1e-12, CLOSEST = 1e-9, STEPS = 200, STILL = 1e-9;

// Plain loops here and below: all of this runs at every step of a slider.
function sum(values) {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i];
  return total;
}

const order = (row) => Array.from(row.keys()).sort((a, b) => row[b] - row[a] || a - b);

export function softmax(row) {
  const powers = new Float64Array(row.length);
  let top = row[0];
  for (let c = 1; c < row.length; c++) top = Math.max(top, row[c]);
  for (let c = 0; c < row.length; c++) powers[c] = Math.exp(row[c] - top);
  const total = sum(powers);
  for (let c = 0; c < row.length; c++) powers[c] /= total;
  return powers;
}

// The sample standard deviation, divisor C - 1.
export function deviation(row) {
  const mean = sum(row) / row.length;
  let square = 0;
  for (let c = 0; c < row.length; c++) square += (row[c] - mean) ** 2;
  return Math.sqrt(square / (row.length - 1));
}

function zScores(row) {
  const mean = sum(row) / row.length, std = deviation(row), scores = new Float64Array(row.length);
  for (let c = 0; c < row.length; c++) scores[c] = std > 0 ? (row[c] - mean) / std : 0;
  return scores;
}

const FORGERIES = {
  // Every value goes one rank down, and the first class gets the smallest.
  fdla: (row) => {
    const ranked = order(row), moved = new Float64Array(row.length);
    ranked.forEach((c, rank) => (moved[c] = row[ranked[(rank + row.length - 1) % row.length]]));
    return moved;
  },
  // A peak on the second choice.
  pcfdla: (row, strength) => {
    const peak = new Float64Array(row.length).fill(-strength);
    peak[order(row)[1]] = strength;
    return peak;
  },
};

// The last `attackers` clients lie; `noise` holds what each of the last clients would say at random.
export function forge(logits, noise, { attackers, attack, strength }) {
  const honest = logits.length - attackers;
  return logits.map((rows, k) => {
    if (k < honest) return rows;
    if (attack === "random") return noise[noise.length - (logits.length - k)];
    return rows.map((row) => FORGERIES[attack](row, strength));
  });
}

// The median of each place over some rows; of an even number the mean of the middle two.
function middles(rows) {
  const count = rows.length, column = new Float64Array(count), found = new Float64Array(rows[0].length);
  for (let c = 0; c < found.length; c++) {
    for (let k = 0; k < count; k++) column[k] = rows[k][c];
    column.sort();
    found[c] = (column[(count - 1) >> 1] + column[count >> 1]) / 2;
  }
  return found;
}

function weighted(rows, weights) {
  const mixed = new Float64Array(rows[0].length), total = sum(weights);
  for (let k = 0; k < rows.length; k++)
    for (let c = 0; c < mixed.length; c++) mixed[c] += (weights[k] / total) * rows[k][c];
  return mixed;
}

const meanOf = (rows) => weighted(rows, rows.map(() => 1));

function distance(a, b) {
  let square = 0;
  for (let c = 0; c < a.length; c++) square += (a[c] - b[c]) ** 2;
  return Math.sqrt(square);
}

function geometricMedian(rows) {
  let point = meanOf(rows);
  const pulls = new Float64Array(rows.length);
  for (let step = 0; step < STEPS; step++) {
    for (let k = 0; k < rows.length; k++) pulls[k] = 1 / Math.max(distance(rows[k], point), CLOSEST);
    const moved = weighted(rows, pulls), still = distance(moved, point) <= STILL;
    point = moved;
    if (still) break;
  }
  return point;
}

function asDistribution(row) {
  const positive = row.map((p) => Math.max(p, 0)), total = sum(positive);
  return positive.map((p) => p / total);
}

const asLogits = (row) => asDistribution(row).map((p) => Math.log(Math.max(p, LEAST_PROBABILITY)));
const sample = (votes, n) => votes.map((rows) => rows[n]);
const each = (votes, rule) => votes[0].map((_, n) => rule(sample(votes, n), n));

// Mean distance of each client's probabilities to the renormalised median of all: between 0 and √2.
export function outlierScores(probabilities) {
  const centre = each(probabilities, (rows) => asDistribution(middles(rows)));
  return probabilities.map((rows) => sum(rows.map((row, n) => distance(row, centre[n]))) / rows.length);
}

export const RULES = {
  "mean": (logits) => each(logits, meanOf),
  "mean-probabilities": (_, probabilities) => each(probabilities, (rows) => asLogits(meanOf(rows))),
  "mean-z-scores": (logits) => each(logits, (rows) => {
    const [std] = middles(rows.map((row) => [deviation(row)]));
    return meanOf(rows.map(zScores)).map((z) => z * std);
  }),
  "median": (_, probabilities) => each(probabilities, (rows) => asLogits(middles(rows))),
  "geometric-median": (_, probabilities) => each(probabilities, (rows) => asLogits(geometricMedian(rows))),
  // One round of ExpGuard, from equal weights.
  "expguard": (_, probabilities, eta) => {
    const weights = outlierScores(probabilities).map((score) => Math.exp(-eta * score));
    return each(probabilities, (rows) => asLogits(weighted(rows, weights)));
  },
};

export function firstChoice(row) {
  return order(row)[0];
}
