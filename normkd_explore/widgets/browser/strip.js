// The strip of pictures: one list box in which arrow keys walk, a click selects, P or shift-click pins.
import { h, label } from "./dom.js";
import { SORTS, showPicture, sorted } from "./samples.js";

const WALK = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1, Home: -Infinity, End: Infinity };

function verdict({ mistakes }) {
  return `teacher ${mistakes < 2 ? "right" : "wrong"}, student ${mistakes % 2 ? "wrong" : "right"}`;
}

function createTile(data, sample, { onSelect, onPin }) {
  const picture = h("span", { class: "nk-picture" });
  showPicture(picture, data, sample.index);
  const badge = label("b", { class: "nk-badge" });
  const number = label("small");
  const tile = h("div", {
    class: "nk-tile", role: "option", tabindex: -1, "data-sample": sample.index,
    title: `${data.names[sample.label]}: ${verdict(sample)}`,
    "aria-label": `Sample ${sample.index}, ${data.names[sample.label]}, ${verdict(sample)}`,
    onclick: (event) => (event.shiftKey ? onPin : onSelect)(sample.index),
  }, picture, badge, number);
  tile.classList.toggle("nk-mistaken", sample.mistakes > 0);
  return { tile, sample, badge, number };
}

export function createStrip(data, handlers) {
  const tiles = data.list.map((sample) => createTile(data, sample, handlers));
  const list = h("div", { class: "nk-strip", role: "listbox", "aria-label": "Samples", onkeydown: walk });
  const sort = h("select", {
    "aria-label": "Sort the samples by", class: "nk-select", "data-key": "sort",
    onchange: () => handlers.onSort(sort.value),
  }, ...Object.entries(SORTS).map(([key, { title }]) => h("option", { value: key }, title)));
  const root = h("section", { class: "nk-samples" },
    h("header", {}, h("h3", {}, "Samples"), h("label", { class: "nk-sort" }, "sorted by ", sort),
      h("small", { class: "nk-hint" }, "arrow keys walk, P or shift-click pins as B")), list);
  let shown = {}, sequence = [];

  // Keys can come faster than frames: they count from the state, not from what is painted.
  function walk(event) {
    const { sample } = handlers.state(), here = sequence.indexOf(sample);
    if (event.key in WALK) {
      const next = Math.min(sequence.length - 1, Math.max(0, here + WALK[event.key]));
      handlers.onSelect(sequence[next]);
      tiles[sequence[next]].tile.focus({ preventScroll: true });
    } else if (event.key === "p" || event.key === "P") handlers.onPin(sample);
    else return;
    event.preventDefault();
  }

  function arrange(key) {
    sequence = sorted(data.list, key).map((sample) => sample.index);
    list.replaceChildren(...sequence.map((index) => tiles[index].tile));
    for (const { number, sample } of tiles) number.show(SORTS[key].number(sample));
    sort.value = key;
  }

  // Only the strip scrolls, never the page.
  function reveal({ offsetLeft, offsetWidth }) {
    const left = offsetLeft - list.offsetLeft;
    if (left < list.scrollLeft || left + offsetWidth > list.scrollLeft + list.clientWidth)
      list.scrollLeft = left - list.clientWidth / 2 + offsetWidth / 2;
  }

  function paint({ sample, pinned, sort: key }) {
    if (sample === shown.sample && pinned === shown.pinned && key === shown.key) return;
    if (key !== shown.key) arrange(key);
    for (const { tile, badge, sample: own } of tiles) {
      const isA = own.index === sample, isB = own.index === pinned;
      badge.show(isA && isB ? "A B" : isA ? "A" : isB ? "B" : "");
      tile.classList.toggle("nk-is-a", isA);
      tile.classList.toggle("nk-is-b", isB);
      tile.setAttribute("aria-selected", String(isA));
      tile.tabIndex = isA ? 0 : -1;
    }
    if (sample !== shown.sample || key !== shown.key) reveal(tiles[sample].tile);
    shown = { sample, pinned, key };
  }
  return { root, paint };
}
