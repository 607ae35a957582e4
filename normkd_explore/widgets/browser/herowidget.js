// The hero in Jupyter: data and state come from the kernel's model.
import { float64Rows, pictureUrl } from "./bytes.js";
import { h } from "./dom.js";
import { createHero } from "./hero.js";
import { followAddress } from "./links.js";
import { showPicture } from "./samples.js";

function readHero(model) {
  const setup = model.get("_setup"), { labels, columns, names } = setup, rows = float64Rows(model.get("_logits"), labels.length);
  const sprite = { url: pictureUrl(model.get("_sprite")), columns, gridRows: Math.ceil(labels.length / columns) };
  const samples = labels.map((c, n) => {
    const picture = h("div", { class: "nk-portrait", role: "img", "aria-label": `Picture of ${names[c]}` });
    showPicture(picture, sprite, n);
    return { name: names[c], title: `Sample ${names[c]}`, logits: rows[n], picture };
  });
  return { url: sprite.url, setup: { ...setup, samples, tNormStops: setup.t_norm_stops } };
}

const accepts = ({ limits, modes }) => (key, value) => (key === "mode" ? modes.includes(value)
  : key in limits && typeof value === "number" && limits[key][0] <= value && value <= limits[key][1]);

function render({ model, el }) {
  const { url, setup } = readHero(model), address = followAddress(setup, accepts(setup));
  const save = (state) => {
    model.set("state", { ...state });
    model.save_changes();
    address.write(state);
  };
  const linked = address.read();
  const hero = createHero(setup, linked ?? model.get("state"), { onRelease: save });
  if (linked) save(linked);
  const fromPython = () => hero.show(model.get("state"));
  el.append(hero.root);
  model.on("change:state", fromPython);
  return () => {
    model.off("change:state", fromPython);
    hero.stop();
    URL.revokeObjectURL(url);
  };
}

export default { render };
