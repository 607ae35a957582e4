// Motion: a glide from one number to another, and none of it where the reader's system asks for less.

export const wantsStill = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

const easeOut = (share) => 1 - (1 - share) ** 3;

// Calls `onStep` with a share from 0 to 1, once a frame; the returned function ends the glide where it is.
export function glide(milliseconds, onStep, ease = easeOut) {
  if (wantsStill()) {
    onStep(1);
    return () => {};
  }
  let frame = 0, start = null;
  const step = (now) => {
    start ??= now;
    const share = Math.min(1, (now - start) / milliseconds);
    onStep(ease(share));
    if (share < 1) frame = requestAnimationFrame(step);
  };
  frame = requestAnimationFrame(step);
  return () => cancelAnimationFrame(frame);
}
