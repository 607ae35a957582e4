// What a reader could stumble over in one explorer: texts that overlap, are small, are faint or stick out.
// Called with the explorer's root element; gives { overlaps, small, faint, wide, texts }.
(root) => {
  const SMALLEST = 12, LOWEST_CONTRAST = 4.5, TOUCH = 1;

  // --- colours: any CSS colour as [r, g, b, a] ---
  const brush = document.createElement("canvas").getContext("2d", { willReadFrequently: true }), known = new Map();
  const rgba = (colour) => {
    if (!known.has(colour)) {
      brush.clearRect(0, 0, 1, 1);
      brush.fillStyle = colour;
      brush.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = brush.getImageData(0, 0, 1, 1).data;
      known.set(colour, [r, g, b, a / 255]);
    }
    return known.get(colour);
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((value, i) => a * value + (1 - a) * below[i]);
  const linear = (value) => (value <= 10.31475 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const contrast = (x, y) => (Math.max(light(x), light(y)) + 0.05) / (Math.min(light(x), light(y)) + 0.05);

  const styles = new Map();
  const styleOf = (node) => styles.get(node) ?? (styles.set(node, getComputedStyle(node)), styles.get(node));
  const ancestors = (node) => {
    const chain = [];
    for (let at = node; at instanceof Element; at = at.parentElement) chain.push(at);
    return chain;
  };
  const groundOf = (chain) => chain.map((node) => rgba(styleOf(node).backgroundColor)).filter(([, , , a]) => a > 0)
    .reverse().reduce((below, colour) => over(colour, below), [255, 255, 255]);

  // --- boxes: where a text is seen, cut by whatever clips it ---
  const meet = (x, y) => ({ left: Math.max(x.left, y.left), top: Math.max(x.top, y.top), right: Math.min(x.right, y.right), bottom: Math.min(x.bottom, y.bottom) });
  const isEmpty = (box) => box.right - box.left < 1 || box.bottom - box.top < 1;
  const clips = (node) => styleOf(node).overflowX !== "visible" && !(node instanceof SVGElement);
  function boxesOf(text, chain) {
    const range = document.createRange(), frames = chain.filter((node) => root.contains(node) && clips(node)).map((node) => node.getBoundingClientRect());
    range.selectNodeContents(text);
    const size = parseFloat(styleOf(chain[0]).fontSize);
    return [...range.getClientRects()].map((rect) => {
      // A line's box is taller than its letters: capitals and descenders fill about the font's size.
      const spare = Math.max(0, (rect.height - size) / 2);
      return frames.reduce(meet, { left: rect.left, right: rect.right, top: rect.top + spare, bottom: rect.bottom - spare });
    }).filter((box) => !isEmpty(box));
  }

  function readText(text) {
    const words = text.data.trim(), owner = text.parentElement;
    if (!words || !owner || ["STYLE", "SCRIPT", "TITLE", "OPTION"].includes(owner.tagName.toUpperCase())) return null;
    if (!owner.checkVisibility({ opacityProperty: true, visibilityProperty: true })) return null;
    const chain = ancestors(owner), boxes = boxesOf(text, chain);
    if (!boxes.length) return null;
    const style = styleOf(owner), drawn = owner.closest("svg"), matrix = drawn && owner.getScreenCTM?.();
    const opacity = chain.reduce((part, node) => part * Number(styleOf(node).opacity), 1);
    const [r, g, b, a] = rgba(drawn ? style.fill : style.color), ground = groundOf(chain);
    return {
      words, owner, boxes, size: parseFloat(style.fontSize) * (matrix ? matrix.a : 1),
      contrast: contrast(over([r, g, b, a * opacity], ground), ground),
    };
  }

  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT), texts = [];
  while (walker.nextNode()) {
    const text = readText(walker.currentNode);
    if (text) texts.push(text);
  }
  const boxes = texts.flatMap((text) => text.boxes.map((box) => ({ ...box, text }))).sort((x, y) => x.top - y.top);
  const overlaps = [];
  boxes.forEach((box, i) => {
    for (let k = i + 1; k < boxes.length && boxes[k].top < box.bottom - TOUCH; k++) {
      const common = meet(box, boxes[k]);
      if (box.text === boxes[k].text || common.right - common.left <= TOUCH || common.bottom - common.top <= TOUCH) continue;
      overlaps.push(`${box.text.words} | ${boxes[k].text.words}`);
    }
  });
  return {
    texts: texts.length, overlaps,
    small: texts.filter(({ size }) => size < SMALLEST - 0.01).map(({ words, size }) => `${words}: ${size.toFixed(1)} px`),
    faint: texts.filter((text) => text.contrast < LOWEST_CONTRAST).map((text) => `${text.words}: ${text.contrast.toFixed(2)}`),
    wide: root.scrollWidth - root.clientWidth,
  };
}
