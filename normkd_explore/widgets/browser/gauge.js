// A gauge of effective classes: a mark on a log axis from 1 to C and the band worth aiming at.
import { h, label } from "./dom.js";
import { classesText, logPlace, placeInBand } from "./softness.js";

const VERDICTS = { below: "too sharp", inside: "✓ in the band", above: "too flat" };
const TICKS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000];
// Ticks that stay where there is little room.
const isMain = (tick) => Number.isInteger(Math.log10(tick));

const percentOf = (share) => `${(100 * share).toFixed(2)}%`;

export function createGauge({ classes, band, name }) {
  const ends = [1, classes], [low, high] = band.map((value) => logPlace(value, ends));
  const number = label("strong", { class: "nk-gauge-number", "data-value": "classes" });
  const verdict = label("span", { class: "nk-gauge-verdict" });
  const mark = h("i", { class: "nk-gauge-mark" });
  const ticks = TICKS.filter((tick) => tick <= classes).map((tick) => h("span", {
    class: isMain(tick) ? "nk-gauge-main" : undefined, style: `left: ${percentOf(logPlace(tick, ends))}`,
  }, String(tick)));
  const scale = h("div", { class: "nk-gauge-scale", "aria-hidden": "true" },
    h("i", { class: "nk-gauge-band", style: `left: ${percentOf(low)}; width: ${percentOf(high - low)}` }), mark);
  const meter = h("div", {
    class: "nk-gauge-meter", role: "meter", "aria-label": `Effective classes of ${name}`, "aria-valuemin": 1, "aria-valuemax": classes,
  }, scale, h("div", { class: "nk-gauge-ticks", "aria-hidden": "true" }, ...ticks));
  const root = h("div", { class: "nk-gauge" },
    h("div", { class: "nk-gauge-text" }, number, h("span", { class: "nk-gauge-unit" }, h("span", { class: "nk-gauge-more" }, "effective "), "classes"), verdict), meter);

  function paint(value) {
    const place = placeInBand(value, band), text = classesText(value);
    number.show(text);
    verdict.show(VERDICTS[place]);
    if (root.dataset.place !== place) root.dataset.place = place;
    mark.style.left = percentOf(logPlace(value, ends));
    meter.setAttribute("aria-valuenow", text);
    meter.setAttribute("aria-valuetext", `${text} effective classes, ${VERDICTS[place].replace("✓ ", "")}`);
  }
  return { root, paint };
}
