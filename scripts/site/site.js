// Brings a stored page to life without a kernel: figures are drawn, and every anywidget gets its saved state back.
(() => {
  const read = (id) => JSON.parse(document.getElementById(id)?.textContent || "null");

  // --- light and dark: the system's choice until the button is pressed ---
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const setTheme = (isDark) => (document.body.dataset.jpThemeLight = String(!isDark));
  setTheme(dark.matches);
  dark.addEventListener("change", () => setTheme(dark.matches));
  document.querySelector(".theme").addEventListener("click", () =>
    setTheme(document.body.dataset.jpThemeLight === "true"));

  // --- the menus of the navigation: one open at a time, and none after a click elsewhere ---
  document.addEventListener("click", ({ target }) => {
    for (const menu of document.querySelectorAll("nav details[open]")) if (!menu.contains(target)) menu.open = false;
  });

  // --- a widget's model, as its module knows it from Jupyter ---
  function bytes(base64) {
    return new DataView(Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)).buffer);
  }

  function restore({ state, buffers }) {
    for (const [path, data] of buffers) {
      const last = path.at(-1);
      path.slice(0, -1).reduce((part, key) => part[key], state)[last] = bytes(data);
    }
    return state;
  }

  class Model {
    constructor(saved) {
      this.state = restore(saved);
      this.listeners = [];
    }
    get(key) {
      return this.state[key];
    }
    set(key, value) {
      const given = typeof key === "string" ? { [key]: value } : key;
      const changed = Object.keys(given).filter((name) => this.state[name] !== given[name]);
      Object.assign(this.state, given);
      for (const name of changed) this.tell(`change:${name}`, this, given[name]);
      if (changed.length) this.tell("change", this);
    }
    tell(event, ...args) {
      for (const [name, call] of [...this.listeners]) if (name === event) call(...args);
    }
    on(events, call) {
      for (const event of events.split(" ")) this.listeners.push([event, call]);
    }
    off(events, call) {
      const names = events?.split(" ");
      this.listeners = this.listeners.filter(([name, own]) =>
        (names && !names.includes(name)) || (call && own !== call));
    }
    // No kernel hears of a change or of a message.
    save_changes() {}
    send() {}
  }

  // A module or a style that several widgets share is stored, and loaded, once.
  function createLoader({ modules, styles }) {
    const loaded = {}, styled = new Set();
    return {
      style(key) {
        if (key === null || styled.has(key)) return;
        styled.add(key);
        document.head.append(Object.assign(document.createElement("style"), { textContent: styles[key] }));
      },
      module: (key) => (loaded[key] ??= import(
        URL.createObjectURL(new Blob([modules[key]], { type: "text/javascript" })))),
    };
  }

  async function startModel(saved, load) {
    load.style(saved.style);
    const { default: given, render } = await load.module(saved.module);
    const widget = (typeof given === "function" ? await given() : given) ?? { render };
    const model = new Model(saved);
    await widget.initialize?.({ model });
    return { model, widget };
  }

  async function showWidgets({ models, ...shared }) {
    const load = createLoader(shared), started = {};
    for (const figure of document.querySelectorAll("[data-model]")) {
      const id = figure.dataset.model;
      const { model, widget } = await (started[id] ??= startModel(models[id], load));
      const el = document.createElement("div");
      // In the page before it is rendered, so that it can measure itself; the picture stays if it fails.
      figure.append(el);
      await widget.render({ model, el });
      figure.querySelector(".still").remove();
    }
  }

  function showFigures(figures) {
    for (const figure of document.querySelectorAll("[data-figure]")) {
      const { data, layout } = figures[figure.dataset.figure];
      const el = document.createElement("div");
      el.style.height = `${layout.height ?? 400}px`;
      figure.append(el);
      Plotly.newPlot(el, data, layout, { responsive: true, displaylogo: false });
      figure.querySelector(".still").remove();
    }
  }

  const figures = read("figures"), widgets = read("widgets");
  if (figures?.length) showFigures(figures);
  if (widgets) showWidgets(widgets).then(() => (document.body.dataset.ready = "true"));
})();
