// Play: T sweeps its range once, evenly on a log axis. Where the reader wants no motion nothing moves.
import { h } from "./dom.js";
import { glide, wantsStill } from "./motion.js";

const SWEEP = 7000, FROM = 0.5, TO = 20;

// onSweep(T) at every frame, onEnd() when it is over or stopped.
export function createPlayer({ onSweep, onEnd }) {
  let stopGlide = null;
  const button = h("button", { type: "button", class: "nk-button nk-play", "aria-pressed": "false", onclick: toggle });

  function label(playing) {
    button.textContent = playing ? "■ Stop" : "▶ Play T 0.5 to 20";
    button.setAttribute("aria-pressed", String(playing));
  }
  function stop() {
    if (!stopGlide) return;
    stopGlide();
    stopGlide = null;
    label(false);
    onEnd();
  }
  function toggle() {
    if (stopGlide) return stop();
    if (wantsStill()) return onEnd();
    label(true);
    stopGlide = glide(SWEEP, (share) => {
      onSweep(FROM * (TO / FROM) ** share);
      if (share === 1) stop();
    }, (share) => share);
  }
  label(false);
  return { button, stop };
}
