// The formulas of softening for one sample: pure functions on arrays of C logits, no page, no state.
// analysis/softening.py states the same quantities in Python; a test holds the two equal.

const LSKD_EPSILON = 1e-7;
const ROUNDING = 8 * Number.EPSILON;
const SQUARE_UNDERFLOWS = 7e-139;

// The four ways to choose temperatures and the sample's weight, from the spreads of both rows and the sliders.
const POLICIES = {
  raw: () => ({ temperatureT: 1, temperatureS: 1, weight: 1 }),
  kd: ({ T }) => ({ temperatureT: T, temperatureS: T, weight: T * T }),
  normkd: (given) => ({ ...fromSpreads(given, 0), weight: (given.T_norm * given.spreadT.std) ** 2 }),
  lskd: (given) => ({ ...fromSpreads(given, LSKD_EPSILON), weight: given.T_norm ** 2 }),
};

function fromSpreads({ spreadT, spreadS, T_norm }, epsilon) {
  const temperatureT = T_norm * (spreadT.divisor + epsilon);
  const temperatureS = T_norm * (spreadS.divisor + epsilon);
  return { temperatureT, temperatureS, followsStudent: spreadS.std > 0, epsilon };
}

// A row of equal logits has no spread to divide by: its divisor is the constant 1 and its std 0.
export function spread(logits) {
  let low = Infinity, high = -Infinity;
  for (const value of logits) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const flat = high - low <= Math.max(ROUNDING * Math.max(high, -low), SQUARE_UNDERFLOWS);
  const deviation = flat ? 0 : std(logits);
  return { std: deviation, divisor: flat ? 1 : deviation };
}

export function mean(values) {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}

// Sample standard deviation, divisor C - 1.
export function std(logits) {
  const center = mean(logits);
  let sum = 0;
  for (const value of logits) sum += (value - center) ** 2;
  return Math.sqrt(sum / (logits.length - 1));
}

export function logSoftmax(logits, temperature) {
  let top = -Infinity;
  for (const value of logits) if (value > top) top = value;
  const result = new Float64Array(logits.length);
  let sum = 0;
  for (let c = 0; c < logits.length; c++) {
    result[c] = (logits[c] - top) / temperature;
    sum += Math.exp(result[c]);
  }
  const logSum = Math.log(sum);
  for (let c = 0; c < result.length; c++) result[c] -= logSum;
  return result;
}

// In nats; a probability that underflowed to 0 adds 0.
export function entropy(logProbs) {
  let sum = 0;
  for (const value of logProbs) sum -= Math.exp(value) * value;
  return sum;
}

// KL(p || q) in nats, from log-probabilities so that no log of an underflowed 0 is taken.
export function divergence(logP, logQ) {
  let sum = 0;
  for (let c = 0; c < logP.length; c++) sum += Math.exp(logP[c]) * (logP[c] - logQ[c]);
  return sum;
}

// d(weight * KL)/d(student logits). Where the temperature follows the student's std, that std is part of the
// graph: its share removes the component along the student's centred logits.
function gradientOfLoss(probsT, probsS, logitsS, stdS, policy) {
  const { temperatureS, weight, followsStudent, epsilon } = policy;
  const gradient = probsS.map((q, c) => (weight / temperatureS) * (q - probsT[c]));
  if (!followsStudent) return gradient;
  const center = mean(logitsS);
  const along = dot(gradient, logitsS) / ((logitsS.length - 1) * stdS * (stdS + epsilon));
  return gradient.map((g, c) => g - along * (logitsS[c] - center));
}

function dot(a, b) {
  let sum = 0;
  for (let c = 0; c < a.length; c++) sum += a[c] * b[c];
  return sum;
}

// With their exponentials, the effective classes.
function entropies(logT, logS) {
  const entropyT = entropy(logT), entropyS = entropy(logS);
  return { entropyT, entropyS, classesT: Math.exp(entropyT), classesS: Math.exp(entropyS) };
}

// Everything the explorer shows about one sample under one method ("raw", "kd", "normkd", "lskd").
export function soften(logitsT, logitsS, method, { T, T_norm }) {
  const spreadT = spread(logitsT), spreadS = spread(logitsS);
  const policy = POLICIES[method]({ spreadT, spreadS, T, T_norm });
  const logT = logSoftmax(logitsT, policy.temperatureT);
  const logS = logSoftmax(logitsS, policy.temperatureS);
  const probsT = logT.map(Math.exp), probsS = logS.map(Math.exp);
  const gradient = gradientOfLoss(probsT, probsS, logitsS, spreadS.std, policy);
  const kl = divergence(logT, logS);
  return {
    temperatureT: policy.temperatureT, temperatureS: policy.temperatureS, weight: policy.weight,
    stdT: spreadT.std, stdS: spreadS.std, probsT, probsS, ...entropies(logT, logS),
    kl, loss: policy.weight * kl, gradient,
    gradientNorm: Math.sqrt(dot(gradient, gradient)), gradientAlongLogits: dot(gradient, logitsS),
  };
}
