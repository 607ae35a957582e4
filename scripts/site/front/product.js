// NormKD = LSKD × std²: six samples, their LSKD loss, and how the weight turns it into NormKD's.
import { fixed, frameGate, h, label } from "./dom.js";
import { soften } from "./formulas.js";
import { createSwitch, samplePicture } from "./knob.js";

const PRODUCT_SETTINGS = { T: 1, T_norm: 1 };

export function createProduct({ products }) {
  const rows = products.map((sample) => {
    const view = (method) => soften(Float64Array.from(sample.teacher), Float64Array.from(sample.student), method, PRODUCT_SETTINGS);
    const normkd = view("normkd"), lskd = view("lskd");
    return { sample, std: normkd.stdT, lskd: lskd.loss, normkd: normkd.loss, number: label("b"), bar: h("i") };
  });
  const sums = { off: rows.reduce((sum, { lskd }) => sum + lskd, 0), on: rows.reduce((sum, { normkd }) => sum + normkd, 0) };
  const end = Math.max(...rows.flatMap(({ lskd, normkd }) => [lskd / sums.off, normkd / sums.on]));
  let times = "off";
  const button = createSwitch({ name: "Weight", options: { off: "LSKD", on: "× std² = NormKD" }, onChange: (value) => {
    times = value;
    repaint();
  } });
  const say = label("p", { class: "nk-say" });
  const repaint = frameGate(() => {
    const on = times === "on";
    button.show(times);
    for (const row of rows) {
      const value = on ? row.lskd * row.std ** 2 : row.lskd;
      row.bar.style.width = `${(100 * value) / sums[times] / end}%`;
      row.number.show(on ? `${fixed(row.lskd, 3)} × ${fixed(row.std ** 2, 1)} = ${fixed(value, 2)}` : fixed(value, 3));
    }
    const share = (row) => fixed((100 * (on ? row.normkd : row.lskd)) / sums[times], 0), { sample } = rows.at(-1);
    say.show(`Bars: each sample’s share of the loss. ${sample.name}, of the largest std, has ${share(rows.at(-1))} %, ` +
      `${rows[0].sample.name}, of the smallest, ${share(rows[0])} %.`);
  });
  repaint();
  return h("div", { class: "nk nk-front nk-product" }, button.root, say, ...rows.map((row) => h("div", { class: "nk-product-row" },
    samplePicture(row.sample), h("span", {}, h("b", {}, row.sample.name), h("small", {}, `std ${fixed(row.std, 1)}`)),
    h("span", { class: "nk-product-track" }, row.bar), row.number)));
}
