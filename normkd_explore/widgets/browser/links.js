// A view as a piece of the page's address: "#hero:T=4,mode=own;explorer:sample=3,T=6". Explorers are told apart by name,
// and each leaves the others' parts as they are. Python reads and writes the same text, see widgets/links.py.

const PART = /^[a-z]+\d*:/;

function partsOf(address) {
  return decodeURIComponent(address.replace(/^[^#]*#?/, "")).split(";").filter((part) => PART.test(part));
}

// A value as it stands in a link, and back: numbers, true and false, none, words.
const written = (value) => (value === null ? "none" : String(value));
function readValue(text) {
  if (text === "none") return null;
  if (text === "true" || text === "false") return text === "true";
  return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}

function linkText(name, state, start) {
  const changed = Object.keys(state).filter((key) => state[key] !== start[key]);
  return `${name}:${changed.map((key) => `${key}=${written(state[key])}`).join(",")}`;
}

// The view that an address holds for an explorer, or null. `accepts` says whether a key may have a value.
function readLink(name, address, accepts) {
  const part = partsOf(address).find((text) => text.startsWith(`${name}:`));
  if (!part) return null;
  const pairs = part.slice(name.length + 1).split(",").filter(Boolean).map((pair) => pair.split("="));
  return Object.fromEntries(pairs.map(([key, text = ""]) => [key, readValue(text)]).filter(([key, value]) => accepts(key, value)));
}

function addressWith(address, name, text) {
  const others = partsOf(address).filter((part) => !part.startsWith(`${name}:`));
  return `${address.replace(/#.*$/, "")}#${[...others, text].join(";")}`;
}

// The address is what a page was opened with, so each name is read from it once: an explorer that is shown again, by a cell
// that is run again, shows what its cell says.
const taken = () => (globalThis.nkTakenLinks ??= new Set());

// For one explorer: its view in the page's address. `read` gives a whole view or null, `text` the address with a view.
export function followAddress({ name, start }, accepts) {
  const text = (state) => addressWith(location.href, name, linkText(name, state, start));
  const read = () => {
    if (taken().has(name)) return null;
    taken().add(name);
    const linked = readLink(name, location.href, accepts);
    return linked && { ...start, ...linked };
  };
  return { read, text, write: (state) => history.replaceState(history.state, "", text(state)) };
}
