// The arithmetic of one class, step by step, with the numbers of one sample: what a reader would write down by hand.
// Every step is { key, name, teacher, student } or, where both meet, { key, name, value }.
import { divergence, entropy, logSoftmax } from "./formulas.js";

function softmaxSteps(logits, temperature, c) {
  const powers = Float64Array.from(logits, (z) => Math.exp(z / temperature));
  return {
    z: logits[c], T: temperature, scaled: logits[c] / temperature, exp: powers[c],
    sum: powers.reduce((sum, power) => sum + power, 0), p: Math.exp(logSoftmax(logits, temperature)[c]),
  };
}

const names = (classes) => ({
  z: "logit z", T: "÷ temperature T", scaled: "= z / T", exp: "exp(z / T)", sum: `÷ sum of all ${classes}`, p: "= p",
});

// One softened prediction alone, down to its effective classes.
export function predictionSteps(logits, temperature, c) {
  const steps = softmaxSteps(logits, temperature, c), logProbs = logSoftmax(logits, temperature), total = entropy(logProbs);
  return [
    ...Object.entries(names(logits.length)).map(([key, name]) => ({ key, name, teacher: steps[key] })),
    { key: "term", name: "−p · log p", value: -steps.p * logProbs[c] },
    { key: "entropy", name: `sum over all ${logits.length}: entropy H`, value: total },
    { key: "classes", name: "exp(H): effective classes", value: Math.exp(total) },
  ];
}

// Teacher against student, down to the sample's loss. `view` is what `soften` of formulas.js gives.
export function lossSteps(logitsT, logitsS, view, c) {
  const classes = logitsT.length;
  const teacher = softmaxSteps(logitsT, view.temperatureT, c), student = softmaxSteps(logitsS, view.temperatureS, c);
  const logP = logSoftmax(logitsT, view.temperatureT), logQ = logSoftmax(logitsS, view.temperatureS);
  const kl = divergence(logP, logQ);
  return [
    ...Object.entries({ ...names(classes), p: "= p, q" }).map(([key, name]) => ({ key, name, teacher: teacher[key], student: student[key] })),
    { key: "term", name: "p · log(p / q)", value: teacher.p * (logP[c] - logQ[c]) },
    { key: "kl", name: `sum over all ${classes}: KL`, value: kl },
    { key: "weight", name: "× weight, T²", value: view.weight },
    { key: "loss", name: "= the sample’s loss", value: view.weight * kl },
  ];
}
