// The player: mixture and stems under each other, what they look like, and what is heard of them.

import { ICONS, clock, icon, make, openDialog, size, spoken, stemTitle, toast } from "./dom.js";
import { coloursOf, draw, drawFrequencies, drawRuler } from "./pictures.js";
import { Transport } from "./transport.js";

const SOFTEST_DB = -40;
const LOUDEST_DB = 12;
const LEAST_SECONDS = 0.05;
const FOLLOW_AT = 0.92;

const HEARD = { stem: "Stems", mixture: "Recording", reference: "References", error: "Errors" };

// recording: {name, tracks, source}; where known its stems to download, remarks, and labels of pictures. The roles of
// tracks are mixture, stem, reference or error; a reference and an error follow the stem that they are of.
export class Player {
  constructor(root, recording, { embedded = false, header = null, onGains = null } = {}) {
    this.root = root;
    this.onGains = onGains;
    this.recording = recording;
    this.embedded = embedded;
    this.tracks = recording.tracks;
    this.source = recording.source;
    const { tracks } = this;
    this.transport = new Transport(tracks, this.source);
    this.total = Math.max(1, tracks.num_samples);
    this.rate = tracks.sample_rate;
    this.from = 0;
    this.to = this.total;
    this.view = "waveform";
    this.heardNow = "stem";
    this.rows = [];
    this.ending = new AbortController();
    this.build(header);
    root.player = this;
    root.style.setProperty("--lanes", tracks.names.length);
    if (!embedded) this.transport.piece(0).catch(() => {});
    this.listen();
    this.applyGains();
    this.scale().then(() => this.look());
    this.tick();
  }

  close() {
    this.closed = true;
    this.ending.abort();
    cancelAnimationFrame(this.frame);
    this.transport.close();
    this.root.replaceChildren();
  }

  // ---- what is on the page

  build(header) {
    this.ruler = make("canvas", { class: "ruler", "aria-hidden": "true" });
    this.lanes = make("div", { class: "lanes" });
    this.head = make("div", { class: "playhead" });
    this.region = make("div", { class: "region", hidden: true });
    const overlay = make("div", { class: "overlay", "aria-hidden": "true" }, this.region, this.head);
    this.seekbar = make("input", {
      type: "range", class: "seek", min: "0", max: String(this.total), step: String(Math.round(this.rate / 10)), value: "0", "aria-label": "Position",
    });
    this.map = make("canvas", { "aria-hidden": "true" });
    this.window = make("div", { class: "map-window" });
    this.mapHead = make("div", { class: "map-head" });
    const map = make("div", { class: "map track", "data-track": "0" }, this.map, this.window, this.mapHead, this.seekbar);
    const stage = make("div", { class: "stage" }, make("div", { class: "ruler-row" }, make("span", { class: "ruler-space" }), this.ruler), this.lanes, overlay);
    const roles = this.tracks.roles ?? this.tracks.names.map((_, index) => (index === 0 ? "mixture" : "stem"));
    this.tracks.names.forEach((name, index) => this.lanes.append(this.lane(name, index, roles[index])));
    this.stems = this.rows.filter((row) => row.role === "stem");
    const texts = this.recording.remarks ?? [];
    const remarks = texts.length
      ? make("ul", { class: "remarks", "aria-label": "What to know about these stems" }, ...texts.map((text) => make("li", {}, text)))
      : null;
    const deck = make("div", { class: "deck card" }, map, stage);
    this.root.replaceChildren(...[header, deck, remarks, this.bar()].filter(Boolean));
  }

  lane(name, index, role) {
    const own = stemTitle(name);
    const title = { reference: "Reference", error: "Error" }[role] ?? own;
    const label = this.recording.labels?.[index] ?? `${title}, drawn`;
    const canvas = make("canvas", { class: "wave", "data-index": String(index), role: "img", "aria-label": label });
    const row = { index, name, role, title, canvas, picture: null, mute: false, solo: false, db: 0, number: 0, stem: null };
    const previous = this.rows.findLast((one) => one.role === "stem");
    if (role === "stem") row.number = (previous?.number ?? 0) + 1;
    else if (role !== "mixture") Object.assign(row, { stem: previous, number: previous.number });
    const { number } = row;
    const stem = this.recording.stems?.find((one) => one.name === name);
    const parts = [make("span", { class: "lane-title" }, make("span", { class: "dot", "aria-hidden": "true" }), make("span", { class: "lane-name", title }, title))];
    if (role === "stem") {
      row.soloButton = make("button", { type: "button", class: "switch solo", "aria-pressed": "false", "aria-label": `Solo ${title}`, title: `Solo (${number})` }, "S");
      row.muteButton = make("button", { type: "button", class: "switch mute", "aria-pressed": "false", "aria-label": `Mute ${title}`, title: `Mute (Shift ${number})` }, "M");
      row.soloButton.addEventListener("click", () => this.setSolo(row, !row.solo));
      row.muteButton.addEventListener("click", () => this.setMute(row, !row.mute));
      row.gain = make("input", { type: "range", class: "gain", min: String(SOFTEST_DB), max: String(LOUDEST_DB), step: "0.5", value: "0", "aria-label": `Gain of ${title}`, title: "Gain; a double click sets it back" });
      row.gainText = make("output", { class: "gain-text" }, "0 dB");
      row.gain.addEventListener("input", () => this.setGain(row, Number(row.gain.value)));
      row.gain.addEventListener("dblclick", () => this.setGain(row, 0));
      const load = stem ? make("a", { class: "switch load", href: stem.url, download: true, "aria-label": `Download ${title}, ${size(stem.bytes)}`, title: `Download, ${size(stem.bytes)}` }, icon(ICONS.download)) : null;
      parts.push(make("span", { class: "lane-switches" }, ...[row.soloButton, row.muteButton, load].filter(Boolean)));
      parts.push(make("span", { class: "lane-gain" }, row.gain, row.gainText));
    } else {
      const note = { mixture: "before separation", reference: `${own} alone`, error: "estimate minus reference" }[role];
      parts.push(make("span", { class: "lane-note soft" }, note));
    }
    row.element = make(
      "div",
      { class: `lane track ${role}`, role: "group", "aria-label": role === "stem" || role === "mixture" ? title : `${title} of ${own}`, "data-track": String(number) },
      make("div", { class: "lane-panel" }, ...parts),
      make("div", { class: "lane-wave" }, canvas),
    );
    this.rows.push(row);
    return row.element;
  }

  bar() {
    const button = (name, label, key, run, text = "") => {
      const element = make("button", { type: "button", class: text ? "button" : "button icon-only", "aria-label": label, title: `${label} (${key})`, onclick: run }, icon(ICONS[name]));
      if (text) element.append(text);
      return element;
    };
    this.playButton = button("play", "Play", "Space", () => this.transport.toggle());
    this.playButton.classList.add("play");
    this.time = make("output", { class: "time", "aria-label": "Time" }, "0:00.0");
    this.loopButton = button("loop", "Loop", "L", () => this.toggleLoop());
    this.loopButton.setAttribute("aria-pressed", "false");
    const choice = (label, key, words, run) => {
      const group = make("div", { class: "segments", role: "group", "aria-label": label, title: `${label} (${key})` });
      const buttons = words.map((word, index) => make("button", { type: "button", "aria-pressed": String(index === 0), onclick: () => run(index) }, word));
      group.append(...buttons);
      return { group, buttons };
    };
    this.heardRoles = Object.keys(HEARD).filter((role) => this.rows.some((row) => row.role === role));
    this.heard = choice("What is heard", "A", this.heardRoles.map((role) => HEARD[role]), (index) => this.setHeard(this.heardRoles[index]));
    this.drawn = choice("How it is drawn", "V", ["Waveform", "Spectrogram"], (index) => this.setView(["waveform", "spectrogram"][index]));
    const zoom = make(
      "div",
      { class: "group" },
      button("farther", "Zoom out", "−", () => this.zoom(2)),
      button("closer", "Zoom in", "+", () => this.zoom(0.5)),
      button("whole", "Show all of it", "F", () => this.show(0, this.total)),
      button("keys", "Keys", "?", () => showKeys()),
    );
    return make(
      "div",
      { class: "transport", role: "toolbar", "aria-label": "Player" },
      make("div", { class: "group" }, button("start", "To the start", "Home", () => this.transport.seek(0)), this.playButton, this.loopButton),
      make("div", { class: "times" }, this.time, make("span", { class: "soft" }, `/ ${clock(this.total / this.rate)}`)),
      this.heard.group,
      this.drawn.group,
      zoom,
    );
  }

  // ---- what is heard

  setSolo(row, solo) {
    row.solo = solo;
    if (solo && this.heardNow === "mixture") this.heardNow = "stem";
    this.applyGains();
  }

  setMute(row, mute) {
    row.mute = mute;
    this.applyGains();
  }

  setGain(row, db) {
    row.db = db;
    row.gain.value = db;
    this.applyGains();
  }

  // The stems, the recording, or what stands beside the stems: each at the gain of its stem.
  setHeard(role) {
    if (!this.heardRoles.includes(role)) return;
    this.heardNow = role;
    this.applyGains();
  }

  reset() {
    for (const row of this.stems) {
      Object.assign(row, { mute: false, solo: false, db: 0 });
      row.gain.value = 0;
    }
    this.applyGains();
  }

  // In dB by stem; null for what is off.
  gainsDb() {
    const { stems } = this;
    const anySolo = stems.some((row) => row.solo);
    const heard = (row) => (anySolo ? row.solo : !row.mute) && row.db > SOFTEST_DB;
    return Object.fromEntries(stems.map((row) => [row.name, heard(row) ? row.db : null]));
  }

  applyGains() {
    const gains = this.gainsDb();
    const own = this.rows.map((row) => {
      if (row.role === "mixture") return 1;
      const db = gains[(row.stem ?? row).name];
      return db === null ? 0 : 10 ** (db / 20);
    });
    this.transport.setGains(own.map((factor, index) => (this.rows[index].role === this.heardNow ? factor : 0)));
    this.rows.forEach((row, index) => {
      const heard = own[index] > 0 && row.role === this.heardNow;
      // In a report all tracks are there to be compared: only what is muted is drawn paler.
      row.element.classList.toggle("silent", this.embedded ? own[index] === 0 : !heard);
      row.element.classList.toggle("heard", heard);
      if (row.role !== "stem") return;
      row.soloButton.setAttribute("aria-pressed", String(row.solo));
      row.muteButton.setAttribute("aria-pressed", String(row.mute));
      const text = row.db <= SOFTEST_DB ? "off" : `${row.db > 0 ? "+" : ""}${row.db} dB`.replace("-", "−");
      row.gainText.textContent = text;
      row.gain.style.setProperty("--filled", `${(100 * (row.db - SOFTEST_DB)) / (LOUDEST_DB - SOFTEST_DB)}%`);
      row.gain.setAttribute("aria-valuetext", text.replace("dB", "decibels"));
    });
    this.heard.buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(this.heardRoles[index] === this.heardNow)));
    this.onGains?.(gains);
  }

  // ---- loop

  toggleLoop() {
    const { transport } = this;
    if (!transport.loop) transport.setLoop([this.from, this.to]);
    else transport.setLoop(transport.loop, !transport.looping);
  }

  loopEdge(which) {
    const here = this.transport.position;
    const [start, stop] = this.transport.loop ?? [0, this.total];
    if (which === 0) this.transport.setLoop([here, stop > here ? stop : this.total]);
    else this.transport.setLoop([start < here ? start : 0, here]);
  }

  // ---- what is seen

  setView(view) {
    this.view = view;
    this.root.classList.toggle("spectrograms", view === "spectrogram");
    this.drawn.buttons.forEach((button, index) => button.setAttribute("aria-pressed", String((index === 0) === (view === "waveform"))));
    this.look();
  }

  show(from, to) {
    const least = Math.min(this.total, LEAST_SECONDS * this.rate);
    const length = Math.min(this.total, Math.max(least, to - from));
    this.from = Math.round(Math.max(0, Math.min(this.total - length, from)));
    this.to = Math.round(this.from + length);
    this.look();
  }

  // Around the playhead, or around where the mouse is.
  zoom(factor, around = this.transport.position) {
    const inside = around >= this.from && around <= this.to ? around : (this.from + this.to) / 2;
    this.show(inside - (inside - this.from) * factor, inside + (this.to - inside) * factor);
  }

  // The loudest sample of all tracks, to which all are drawn.
  async scale() {
    this.peak = 127;
    try {
      const pictures = await Promise.all(this.rows.map((_, index) => this.source.view(index, "waveform", 0, this.total, this.columns())));
      let most = 0;
      pictures.forEach((picture, index) => {
        this.rows[index].picture = picture;
        for (const value of picture.data) most = Math.max(most, Math.abs(value));
      });
      this.overview = pictures[0];
      this.peak = Math.max(8, Math.min(127, most * 1.08));
    } catch {
      if (!this.closed) toast("The pictures cannot be loaded.", true);
    }
  }

  columns() {
    return Math.max(100, Math.min(2000, Math.round(this.rows[0].canvas.clientWidth * Math.min(2, window.devicePixelRatio || 1))));
  }

  // Draws what is there, and what is missing as soon as it comes.
  look() {
    if (this.closed) return;
    this.redraw();
    clearTimeout(this.looking);
    this.looking = setTimeout(() => this.rows.forEach((row, index) => this.lookAt(row, index)), 40);
  }

  async lookAt(row, index) {
    const { from, to, view } = this;
    const columns = view === "waveform" ? this.columns() : Math.ceil(this.columns() / 2);
    try {
      const picture = await this.source.view(index, view, from, to, columns);
      if (this.closed || from !== this.from || to !== this.to || view !== this.view) return;
      row.picture = picture;
      this.paint(row);
    } catch {
      // The old picture stays.
    }
  }

  redraw() {
    this.rows.forEach((row) => this.paint(row));
    drawRuler(this.ruler, this.from / this.rate, this.to / this.rate);
    if (this.overview) draw(this.map, this.overview, 0, this.total, coloursOf(this.map.parentElement, this.peak));
    this.window.style.left = `${(100 * this.from) / this.total}%`;
    this.window.style.width = `${(100 * (this.to - this.from)) / this.total}%`;
    this.window.hidden = this.to - this.from >= this.total;
  }

  paint(row) {
    if (row.picture && row.picture.view === this.view) draw(row.canvas, row.picture, this.from, this.to, coloursOf(row.element, this.peak));
    if (row.picture?.view === "spectrogram" && this.view === "spectrogram") drawFrequencies(row.canvas, this.rate / 2);
  }

  // Everything that moves.
  tick() {
    this.frame = requestAnimationFrame(() => this.tick());
    const { transport } = this;
    const place = transport.position;
    if (transport.playing && !this.dragging && this.to - this.from < this.total) {
      const length = this.to - this.from;
      if (place > this.from + FOLLOW_AT * length || place < this.from) this.show(place - 0.08 * length, place + 0.92 * length);
    }
    const lane = this.rows[0].canvas;
    const left = lane.offsetLeft + lane.parentElement.offsetLeft;
    const width = lane.clientWidth;
    const x = (sample) => left + ((sample - this.from) / (this.to - this.from)) * width;
    const at = x(place);
    this.head.style.transform = `translateX(${at}px)`;
    this.head.hidden = at < left - 1 || at > left + width + 1;
    this.mapHead.style.left = `${(100 * place) / this.total}%`;
    const range = this.dragging?.range ?? transport.loop;
    this.region.hidden = !range;
    this.region.classList.toggle("off", !this.dragging?.range && !transport.looping);
    if (range) {
      const first = Math.max(left, Math.min(left + width, x(range[0])));
      const last = Math.max(left, Math.min(left + width, x(range[1])));
      this.region.style.transform = `translateX(${first}px)`;
      this.region.style.width = `${Math.max(0, last - first)}px`;
    }
    const text = clock(place / this.rate, true);
    if (this.time.textContent !== text) this.time.textContent = text;
    if (document.activeElement !== this.seekbar || transport.playing) this.seekbar.value = String(place);
    const said = `${spoken(place / this.rate)} of ${spoken(this.total / this.rate)}`;
    if (this.seekbar.getAttribute("aria-valuetext") !== said) this.seekbar.setAttribute("aria-valuetext", said);
  }

  // ---- hands

  listen() {
    const { signal } = this.ending;
    const { transport } = this;
    transport.addEventListener("change", () => {
      const playing = transport.playing;
      this.playButton.replaceChildren(icon(playing ? ICONS.pause : ICONS.play));
      this.playButton.setAttribute("aria-label", playing ? "Pause" : "Play");
      this.playButton.classList.toggle("on", playing);
      this.playButton.classList.toggle("waiting", transport.waiting);
      this.loopButton.setAttribute("aria-pressed", String(transport.looping));
    });
    transport.addEventListener("problem", (event) => toast(event.detail, true));
    this.seekbar.addEventListener("input", () => transport.seek(Number(this.seekbar.value)));
    // A page of several players gives the keys to the one that has the focus.
    (this.embedded ? this.root : document).addEventListener("keydown", (event) => this.key(event), { signal });
    new ResizeObserver(() => this.look()).observe(this.lanes);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.look(), { signal });
    this.lanes.addEventListener("pointerdown", (event) => this.drag(event));
    this.lanes.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  sampleAt(event) {
    const box = this.rows[0].canvas.getBoundingClientRect();
    const share = Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
    return this.from + share * (this.to - this.from);
  }

  // A click goes there; a drag of the mouse marks a loop, and one of a finger moves what is shown.
  drag(event) {
    if (!event.target.classList.contains("wave") || event.button !== 0) return;
    const start = this.sampleAt(event);
    const [from, to] = [this.from, this.to];
    const touch = event.pointerType === "touch";
    const drag = (this.dragging = { range: null, moved: false });
    const canvas = event.target;
    canvas.setPointerCapture(event.pointerId);
    const move = (moved) => {
      if (Math.abs(moved.clientX - event.clientX) > 4) drag.moved = true;
      if (!drag.moved) return;
      if (touch) {
        const shift = ((moved.clientX - event.clientX) / canvas.clientWidth) * (to - from);
        this.show(from - shift, to - shift);
      } else {
        const here = this.sampleAt(moved);
        drag.range = [Math.min(start, here), Math.max(start, here)];
      }
    };
    const end = (ended) => {
      canvas.removeEventListener("pointermove", move);
      this.dragging = null;
      if (ended.type === "pointercancel") return;
      if (!drag.moved) this.transport.seek(start);
      else if (drag.range) {
        this.transport.setLoop(drag.range);
        if (!this.transport.playing) this.transport.seek(drag.range[0]);
      }
    };
    canvas.addEventListener("pointermove", move);
    canvas.addEventListener("pointerup", end, { once: true });
    canvas.addEventListener("pointercancel", end, { once: true });
  }

  wheel(event) {
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      this.zoom(1.0015 ** event.deltaY, this.sampleAt(event));
    } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey) {
      event.preventDefault();
      const shift = ((event.deltaX || event.deltaY) / this.rows[0].canvas.clientWidth) * (this.to - this.from);
      this.show(this.from + shift, this.to + shift);
    }
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const target = event.target;
    const types = target.matches("select, textarea, input:not([type=range])");
    const slides = target.matches("input[type=range]");
    if (types) return;
    // Buttons and links are pressed by the space bar, and sliders moved by the arrows, as everywhere.
    if (event.key === " " && target.matches("button, a, summary")) return;
    if (slides && ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"].includes(event.key)) return;
    const { transport } = this;
    const step = (event.shiftKey ? 1 : 5) * this.rate;
    const digit = /^Digit(\d)$/.exec(event.code)?.[1];
    const does = {
      " ": () => transport.toggle(),
      ArrowLeft: () => transport.seek(transport.position - step),
      ArrowRight: () => transport.seek(transport.position + step),
      Home: () => transport.seek(0),
      End: () => transport.seek(this.total),
      a: () => this.setHeard(this.heardNow === "mixture" ? "stem" : "mixture"),
      r: () => this.setHeard(this.heardNow === "reference" ? "stem" : "reference"),
      l: () => this.toggleLoop(),
      "[": () => this.loopEdge(0),
      "]": () => this.loopEdge(1),
      "+": () => this.zoom(0.5),
      "=": () => this.zoom(0.5),
      "-": () => this.zoom(2),
      f: () => this.show(0, this.total),
      v: () => this.setView(this.view === "waveform" ? "spectrogram" : "waveform"),
      "?": showKeys,
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (digit === "0" && !event.shiftKey) this.reset();
    else if (digit && Number(digit) <= this.stems.length) {
      const row = this.stems[Number(digit) - 1];
      if (event.shiftKey) this.setMute(row, !row.mute);
      else this.setSolo(row, !row.solo);
    } else if (does) does();
    else return;
    event.preventDefault();
  }
}

const KEYS = [
  ["Space", "play, pause"],
  ["← →", "5 seconds back, on; with Shift 1 second"],
  ["Home End", "start, end"],
  ["A", "recording or stems"],
  ["R", "references or stems, where there are references"],
  ["1 … 9", "solo a stem; with Shift mute it"],
  ["0", "all stems as they were"],
  ["L", "loop on, off"],
  ["[ ]", "loop from here, to here"],
  ["+ − F", "zoom in, out, all of it"],
  ["V", "waveform or spectrogram"],
];

function showKeys() {
  const words = (keys) => keys.split(" ").flatMap((key) => (key === "…" ? [" … "] : [make("kbd", {}, key), " "]));
  const rows = KEYS.flatMap(([keys, does]) => [make("dt", {}, ...words(keys)), make("dd", {}, does)]);
  openDialog("Keys", [make("dl", { class: "keys" }, ...rows)]);
}
