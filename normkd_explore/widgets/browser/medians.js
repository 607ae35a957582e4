// Equal softness: which T of KD and which T_norm leave the median sample equally many effective classes.
// The tables come from Python, over the whole scanned split; between their points lines on log axes.

function between(xs, ys, x) {
  const last = xs.length - 1, at = Math.min(Math.max(x, xs[0]), xs[last]);
  let i = 1;
  while (i < last && xs[i] < at) i++;
  const share = Math.log(at / xs[i - 1]) / Math.log(xs[i] / xs[i - 1]);
  return ys[i - 1] * (ys[i] / ys[i - 1]) ** share;
}

// table: { T, kd, T_norm, normkd, samples }: temperatures rising, and the median effective classes at each.
export function createMedians(table) {
  const kd = (T) => between(table.T, table.kd, T);
  const normkd = (T_norm) => between(table.T_norm, table.normkd, T_norm);
  return {
    kd, normkd, samples: table.samples,
    matchT: (T_norm) => between(table.kd, table.T, normkd(T_norm)),
    matchTNorm: (T) => between(table.normkd, table.T_norm, kd(T)),
  };
}
