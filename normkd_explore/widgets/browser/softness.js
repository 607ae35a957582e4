// Effective classes: how many a softened prediction still means. analysis/softness.py states the same in Python.
import { fixed } from "./dom.js";
import { entropy, logSoftmax } from "./formulas.js";

export const effectiveClasses = (logits, temperature) => Math.exp(entropy(logSoftmax(logits, temperature)));

// "below", "inside" or "above" the band.
export function placeInBand(value, [low, high]) {
  return value < low ? "below" : value > high ? "above" : "inside";
}

export const classesText = (value) => fixed(value, value < 9.95 ? 1 : 0);

// In a sentence: "1.3", "7", "70".
export const roundClasses = (value) => fixed(value, value < 2.95 ? 1 : 0);

// Without zeros that say nothing: "4", "0.75", "10.3".
export const temperatureText = (value) => fixed(value, value < 9.995 ? 2 : 1).replace(/\.?0+$/, "");

// Where a value lies on a log axis, 0 to 1 between its ends.
export function logPlace(value, [low, high]) {
  return Math.min(1, Math.max(0, Math.log(value / low) / Math.log(high / low)));
}
