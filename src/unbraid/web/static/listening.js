// A recording of the server in the player: where its samples and pictures come from, and what can be saved of it.

import * as api from "./api.js";
import { ICONS, clock, icon, make, openDialog, stemTitle, toast } from "./player/dom.js";
import { Player } from "./player/player.js";

const KEPT_VIEWS = 200;
const BINS = 128;
const views = new Map();

export function openListening(root, found, tracks, models, onAgain) {
  const source = new ServerSource(`/api/separations/${found.id}`, tracks);
  const recording = { name: found.name, tracks, source, stems: found.stems, remarks: found.remarks };
  const { element, onGains } = saving(found);
  const parts = [again(found, models, onAgain), element];
  return new Player(root, recording, { header: header(found, tracks, models, parts), onGains });
}

class ServerSource {
  constructor(base, tracks) {
    this.base = base;
    this.tracks = tracks;
    this.problem = "The player cannot reach the server.";
  }

  async samples(start, number) {
    const answer = await fetch(`${this.base}/samples?start=${start}&count=${number}`);
    if (!answer.ok) throw new Error(String(answer.status));
    const values = new Int16Array(await answer.arrayBuffer());
    const { num_channels: channels, names, full_scale: full, sample_rate: sampleRate } = this.tracks;
    const count = values.length / channels / names.length;
    const scale = full / 32767;
    return names.map((_, track) => {
      const buffer = new AudioBuffer({ length: Math.max(1, count), numberOfChannels: channels, sampleRate });
      for (let channel = 0; channel < channels; channel++) {
        const out = buffer.getChannelData(channel);
        let from = track * count * channels + channel;
        for (let sample = 0; sample < count; sample++, from += channels) out[sample] = values[from] * scale;
      }
      return buffer;
    });
  }

  async view(track, view, start, stop, columns) {
    const address = `${this.base}/tracks/${track}/${view}?start=${start}&stop=${stop}&columns=${columns}&bins=${BINS}`;
    const known = views.get(address);
    if (known) return known;
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(String(answer.status));
    const buffer = await answer.arrayBuffer();
    const picture = { view, columns, start, stop, data: view === "waveform" ? new Int8Array(buffer) : new Uint8Array(buffer) };
    views.set(address, picture);
    if (views.size > KEPT_VIEWS) views.delete(views.keys().next().value);
    return picture;
  }
}

function header(found, tracks, models, parts) {
  const model = models.find(found.model);
  const rate = `${tracks.num_channels === 1 ? "mono" : "stereo"}, ${tracks.sample_rate / 1000} kHz`;
  const facts = [model?.title ?? found.model, clock(found.seconds), rate].join(" · ");
  const zip = make("a", { class: "button primary", href: `/api/separations/${found.id}/zip`, download: true }, icon(ICONS.download), "All stems");
  return make(
    "div",
    { class: "player-head" },
    make("a", { class: "button icon-only", href: "#/", "aria-label": "Back to all recordings" }, icon(ICONS.back)),
    make("div", { class: "player-name" }, make("h1", { id: "player-title", title: found.name }, found.name), make("p", { class: "soft" }, facts)),
    make("div", { class: "downloads" }, ...parts, zip),
  );
}

// Asks for the recording, or one of its stems, with another model; what is there stays.
function again(found, models, onAgain) {
  const button = make("button", { type: "button", class: "button", title: "With another model, or a stem further" }, "Separate again");
  button.addEventListener("click", async () => {
    const stem = make("select", {}, make("option", { value: "" }, "The recording"), ...found.stems.map((one) => make("option", { value: one.name }, stemTitle(one.name))));
    const model = make("select", {}, ...models.usable.map((one) => make("option", { value: one.name }, one.title)));
    model.value = models.usable.find((one) => one.name !== found.model)?.name ?? found.model;
    if (!(await openDialog("Separate again", [make("label", {}, "What", stem), make("label", {}, "With", model)], "Separate"))) return;
    const { container, sample, shifts } = found.options;
    try {
      onAgain(await api.again(found.id, { stem: stem.value || null, options: { model: model.value, container, sample, shifts } }));
    } catch (error) {
      toast(error.message, true);
    }
  });
  return button;
}

// The button that saves what is heard; the player tells the gains.
function saving(found) {
  let gains = {};
  const formats = ["wav", "flac", "mp3", "ogg"].map((name) => make("option", { value: name }, name.toUpperCase()));
  const format = make("select", { "aria-label": "Format of the remix" }, ...formats);
  format.value = found.options.container;
  const button = make("button", { type: "button", class: "button", title: "Save what you hear now as one file" }, "Save remix");
  const show = () => (button.disabled = Object.values(gains).every((db) => db === null));
  button.addEventListener("click", async () => {
    button.disabled = true;
    button.textContent = "Mixing…";
    try {
      const request = { gains_db: gains, container: format.value };
      if (request.container === "wav" && found.options.sample) request.sample = found.options.sample;
      const link = make("a", { href: URL.createObjectURL(await api.remix(found.id, request)), download: `${found.name.replace(/\.[^.]*$/, "")} - remix.${request.container}` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    } catch (error) {
      toast(error.message, true);
    } finally {
      button.textContent = "Save remix";
      show();
    }
  });
  const onGains = (now) => {
    gains = now;
    show();
  };
  return { element: make("span", { class: "pair" }, button, format), onGains };
}
