// The temperature slider on a log axis. With one T it has one thumb; with a T for each sample the thumb is T_norm, and
// two marks hang on it: on a log axis T_norm · std moves both alike. Stretches where a gauge is in the band turn green
// on the track once the reader has been there.
import { fixed, h, label } from "./dom.js";
import { logPlace, placeInBand, temperatureText } from "./softness.js";

const AXIS_TICKS = [0.5, 1, 2, 5, 10, 20];
const STEPS_OF_KEYS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -Infinity, End: Infinity };
const share = (value) => `${(100 * value).toFixed(3)}%`;

export function nearestStop(stops, value) {
  let best = 0;
  stops.forEach((stop, i) => {
    if (Math.abs(Math.log(stop / value)) < Math.abs(Math.log(stops[best] / value))) best = i;
  });
  return best;
}

// The stretch of stops at which a sample is in the band, as [first, last] T, or null.
export function bandStretch(stops, classesAt, band) {
  const inside = stops.filter((T) => placeInBand(classesAt(T), band) === "inside");
  return inside.length ? [inside[0], inside.at(-1)] : null;
}

function createZone(name, stretch, ends) {
  const root = h("i", { class: "nk-dial-zone", "aria-hidden": "true", hidden: "" }, name);
  if (stretch) {
    const [from, to] = stretch.map((T) => logPlace(T, ends));
    root.style.left = share(from);
    root.style.width = share(to - from);
  }
  return { root, reveal: () => (root.hidden = !stretch) };
}

function createPin(name) {
  const value = label("b");
  const root = h("span", { class: "nk-dial-pin", "aria-hidden": "true", hidden: "" }, h("span", {}, `${name} `, value));
  const paint = (place, text) => {
    root.style.left = share(place);
    value.show(text);
  };
  return { root, paint };
}

// `middle` turns T_norm into the T at which the thumb stands: T_norm times the geometric mean of the stds.
export function createDial({ stops, tNormStops, samples, stretches, middle, onInput, onRelease }) {
  const ends = [stops[0], stops.at(-1)], modes = { one: stops, own: tNormStops };
  const thumb = h("i", { class: "nk-dial-thumb" }), bridge = h("i", { class: "nk-dial-bridge", hidden: "" });
  const zones = samples.map(({ name }, i) => createZone(name, stretches[i], ends));
  const bubble = createPin("T ="), pins = samples.map(({ name }) => createPin(name));
  // The real slider counts in shares of the log axis and is read at the nearest stop; keys go from stop to stop.
  const input = h("input", {
    type: "range", min: 0, max: 1, step: "any", class: "nk-dial-input", onkeydown: walk, onchange: onRelease,
    oninput: () => onInput(values()[nearestStop(values(), valueAt(Number(input.value)))]),
  });
  const ticks = AXIS_TICKS.map((T) => h("span", { style: `left: ${share(logPlace(T, ends))}` }, String(T)));
  const root = h("div", { class: "nk-dial" },
    h("div", { class: "nk-dial-inner" }, h("i", { class: "nk-dial-track" }), ...zones.map((zone) => zone.root), bridge,
      bubble.root, ...pins.map((pin) => pin.root), input, thumb, h("div", { class: "nk-dial-ticks", "aria-hidden": "true" }, ...ticks)));
  let mode = null, now = null;
  const values = () => modes[mode];
  const valueAt = (part) => values()[0] * (values().at(-1) / values()[0]) ** part;

  function walk(event) {
    const step = STEPS_OF_KEYS[event.key], last = values().length - 1;
    if (!step) return;
    event.preventDefault();
    // Keys can come faster than frames: they count from here, not from what is painted.
    now = values()[Math.min(last, Math.max(0, nearestStop(values(), now) + step))];
    onInput(now);
    onRelease();
  }

  function setMode(next) {
    if (mode === next) return;
    mode = next;
    const own = mode === "own", [first, last] = [values()[0], values().at(-1)];
    const [from, to] = own ? [first, last].map((T_norm) => logPlace(middle(T_norm), ends)) : [0, 1];
    input.dataset.key = own ? "T_norm" : "T";
    input.style.setProperty("--nk-from", share(from));
    input.style.setProperty("--nk-span", share(to - from));
    for (const { root: pin } of pins) pin.hidden = !own;
    bridge.hidden = !own;
    bubble.root.hidden = own;
  }

  // `shown` are the samples' temperatures on the way to `state`'s while a glide is under way.
  function paint(state, shown, sentence) {
    setMode(state.mode);
    const own = mode === "own", value = own ? state.T_norm : state.T;
    const places = shown.map((T) => logPlace(T, ends));
    now = value;
    input.value = logPlace(value, [values()[0], values().at(-1)]);
    input.setAttribute("aria-label", own ? "T_norm, the factor of each sample's std" : "T, one temperature for both");
    input.setAttribute("aria-valuetext", sentence);
    const here = logPlace(own ? middle(value) : value, ends);
    thumb.style.left = share(here);
    bubble.paint(here, fixed(value));
    pins.forEach((pin, i) => pin.paint(places[i], temperatureText(shown[i])));
    const low = Math.min(...places);
    bridge.style.left = share(low);
    bridge.style.width = share(Math.max(...places) - low);
  }
  return { root, paint, reveal: (i) => zones[i].reveal() };
}
