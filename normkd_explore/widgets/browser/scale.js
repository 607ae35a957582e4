// One axis for bars: where a value lies between 0 and 1 (or -1 and 1 for gradients), and its tick texts.
import { short } from "./dom.js";

const DECADES = 6;
const STEPS = [1, 1.5, 2, 3, 4, 5, 6, 8, 10];

// The next round number: an axis that jumps between round ends is read faster than one that creeps.
export function roundUp(value) {
  if (!(value > 0) || !Number.isFinite(value)) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  return unit * STEPS.find((step) => step * unit >= value * (1 - 1e-9));
}

export function largest(arrays, classes) {
  let top = 0;
  for (const values of arrays) for (const c of classes) top = Math.max(top, Math.abs(values[c]) || 0);
  return top;
}

// kind "fit" and "same" are linear up to `end`; "log" spans six decades below it.
export function makeScale(kind, end, signed) {
  const linear = (value) => Math.min(1, Math.max(-1, value / end)) || 0;
  const log = (value) => {
    const size = 1 + Math.log10(Math.abs(value) / end) / DECADES;
    return size > 0 ? Math.sign(value) * Math.min(1, size) : 0;
  };
  const valueAt = (share) => (kind === "log" ? end * 10 ** (DECADES * (share - 1)) : share * end);
  const tick = (share) => short(valueAt(share)).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
  const low = kind === "log" ? tick(0) : "0";
  const ticks = signed
    ? [`−${tick(1)}`, kind === "log" ? `±${low}` : "0", tick(1)]
    : [low, tick(0.5), tick(1)];
  return { fraction: kind === "log" ? log : linear, ticks };
}
