// The few things that all parts of the page do to it.

export const byId = (id) => document.getElementById(id);

// An element with attributes, listeners (onclick) and children; text is never taken for markup.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

// A drawing of some strokes, 24 by 24.
export function icon(path) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "icon");
  const shape = document.createElementNS(space, "path");
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
}

export const ICONS = {
  play: "M8 5v14l11-7z",
  pause: "M8 5v14M16 5v14",
  start: "M6 5v14M19 5 9 12l10 7z",
  download: "M12 4v11m0 0-4.5-4.5M12 15l4.5-4.5M5 19h14",
  remove: "M5 7h14M10 7V5h4v2M7 7l1 12h8l1-12",
  back: "M15 5l-7 7 7 7",
  loop: "M5 11a5 5 0 0 1 5-5h9m0 0-3-3m3 3-3 3M19 13a5 5 0 0 1-5 5H5m0 0 3 3m-3-3 3-3",
  wave: "M3 12h2l2-6 3 12 3-15 3 15 2-6h3",
  grid: "M4 20V10m4 10V4m4 16v-7m4 7V7m4 13v-5",
  closer: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zm5 12 5 5M8 11h6M11 8v6",
  farther: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zm5 12 5 5M8 11h6",
  whole: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  close: "M6 6l12 12M18 6 6 18",
  keys: "M3 7h18v10H3zM7 11h.01M11 11h.01M15 11h.01M8 14h8",
};

export function announce(text) {
  byId("announce").textContent = text;
}

function toasts() {
  const found = byId("toasts") ?? make("div", { id: "toasts", class: "toasts", role: "alert" });
  if (!found.isConnected) document.body.append(found);
  return found;
}

// A sentence that stays a while; problems stay until they are closed.
export function toast(text, problem = false) {
  const note = make("div", { class: problem ? "toast problem" : "toast" }, make("p", {}, text));
  const close = make("button", { type: "button", class: "ghost", "aria-label": "Close", onclick: () => note.remove() });
  close.append(icon(ICONS.close));
  note.append(close);
  toasts().append(note);
  setTimeout(() => note.remove(), problem ? 15000 : 5000);
}

// Asks in a dialog, and gives whether the answer was yes; without a `yes` there is only something to read.
export function openDialog(title, parts, yes = null) {
  const no = make("button", { class: "button", value: "" }, yes ? "Cancel" : "Close");
  const actions = make("div", { class: "dialog-actions" }, no, yes && make("button", { class: "button primary", value: "ok" }, yes));
  const form = make("form", { method: "dialog" }, make("h2", { id: "dialog-title" }, title), ...parts, actions);
  const dialog = make("dialog", { class: "card", "aria-labelledby": "dialog-title" }, form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "ok");
    });
  });
}

// 83.4 -> "1:23"; with tenths "1:23.4".
export function clock(seconds, tenths = false) {
  const whole = Math.floor(seconds + 1e-6);
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  const rest = String(whole % 60).padStart(2, "0");
  const head = hours ? `${hours}:${String(minutes).padStart(2, "0")}` : String(minutes);
  const tail = tenths ? `.${Math.floor((seconds + 1e-6 - whole) * 10)}` : "";
  return `${head}:${rest}${tail}`;
}

// For people who cannot see "1:23".
export function spoken(seconds) {
  const minutes = Math.floor(seconds / 60);
  const rest = Math.floor(seconds % 60);
  return minutes ? `${minutes} min ${rest} s` : `${rest} s`;
}

export function size(bytes) {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1).replace(".0", "")} GB`;
  if (bytes >= 1e6) return `${(bytes / 1e6).toFixed(bytes >= 1e7 ? 0 : 1)} MB`;
  return `${Math.max(1, Math.round(bytes / 1e3))} kB`;
}

// "speaker1" -> "Speaker 1", "no_vocals" -> "Without vocals".
export function stemTitle(name) {
  if (name === "mixture") return "Recording";
  if (name.startsWith("no_") || name.startsWith("minus_")) return `Without ${name.slice(name.indexOf("_") + 1)}`;
  const words = name.replace(/_/g, " ").replace(/(\D)(\d+)$/, "$1 $2");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
