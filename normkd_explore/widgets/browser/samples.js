// The samples as they came from Python: logit rows, pictures, and the facts that sort them.
import { float32Rows, pictureUrl } from "./bytes.js";
import { divergence, entropy, logSoftmax, spread } from "./formulas.js";

function argmax(values) {
  let best = 0;
  for (let c = 1; c < values.length; c++) if (values[c] > values[best]) best = c;
  return best;
}

function describe(index, logitsT, logitsS, label) {
  const logT = logSoftmax(logitsT, 1), logS = logSoftmax(logitsS, 1);
  const topT = argmax(logitsT), topS = argmax(logitsS);
  return {
    index, label, logitsT, logitsS, topT, topS, stdT: spread(logitsT).std, stdS: spread(logitsS).std,
    entropyT: entropy(logT), disagreement: divergence(logT, logS),
    mistakes: (topT === label ? 0 : 2) + (topS === label ? 0 : 1),
    // Logits, not probabilities, order the classes: the order does not move while a slider does.
    order: Array.from(logitsT.keys()).sort((a, b) => logitsT[b] - logitsT[a] || a - b),
  };
}

// `number` is the line under each picture.
export const SORTS = {
  index: { title: "position", key: (s) => -s.index, number: (s) => `#${s.index}` },
  std: { title: "teacher std", key: (s) => s.stdT, number: (s) => `σ ${s.stdT.toFixed(1)}` },
  entropy: { title: "teacher entropy", key: (s) => s.entropyT, number: (s) => `H ${s.entropyT.toFixed(2)}` },
  correctness: { title: "mistakes", key: (s) => s.mistakes, number: (s) => MISTAKES[s.mistakes] },
  disagreement: {
    title: "disagreement", key: (s) => s.disagreement, number: (s) => `KL ${s.disagreement.toFixed(2)}`,
  },
};
const MISTAKES = ["t✓ s✓", "t✓ s✗", "t✗ s✓", "t✗ s✗"];

export function sorted(samples, sort) {
  const { key } = SORTS[sort];
  return [...samples].sort((a, b) => key(b) - key(a) || a.index - b.index);
}

// The rows of a short chart: the teacher's favourites, and always the true class and the student's choice.
export function topClasses(sample, count) {
  const rows = sample.order.slice(0, count);
  const wanted = [sample.label, sample.topS].filter((c, i, all) => all.indexOf(c) === i && !rows.includes(c));
  if (wanted.length) rows.splice(Math.max(1, count - wanted.length), wanted.length, ...wanted);
  return rows;
}

export function readSamples(model) {
  const { labels, class_names, columns } = model.get("_setup");
  const count = labels.length;
  const rowsT = float32Rows(model.get("_logits_t"), count), rowsS = float32Rows(model.get("_logits_s"), count);
  const url = pictureUrl(model.get("_sprite"));
  return {
    list: labels.map((label, n) => describe(n, rowsT[n], rowsS[n], label)),
    names: class_names, columns, url, gridRows: Math.ceil(count / columns),
  };
}

// Show picture `index` of the sprite as the background of an element of any size.
export function showPicture(node, data, index) {
  const place = (i, n) => (n > 1 ? (100 * i) / (n - 1) : 0);
  node.style.backgroundImage = `url(${data.url})`;
  node.style.backgroundSize = `${100 * data.columns}% ${100 * data.gridRows}%`;
  node.style.backgroundPosition =
    `${place(index % data.columns, data.columns)}% ${place(Math.floor(index / data.columns), data.gridRows)}%`;
}
