// The models: those on this machine, one of which is chosen, and published ones, which come when a visitor agrees to it.

import * as api from "./api.js";
import { ICONS, announce, byId, icon, make, openDialog, size, stemTitle } from "./player/dom.js";

const GROUPS = { music: "Songs", speech: "Talk", film: "Film" };

export class Models {
  constructor(onChoice, onProblem) {
    Object.assign(this, { onChoice, onProblem, all: [], rows: new Map(), events: null });
  }

  get usable() {
    return this.all.filter((model) => model.state === "bundled" || model.state === "downloaded");
  }

  get chosen() {
    return this.find(document.querySelector("input[name=model]:checked")?.value);
  }

  find(name) {
    return this.all.find((model) => model.name === name);
  }

  show(all, wanted) {
    this.all = all;
    this.showUsable(wanted);
    this.showOffers();
    this.follow();
  }

  showUsable(wanted) {
    const models = this.usable;
    const first = models.some((model) => model.name === wanted) ? wanted : models[0]?.name;
    byId("models").replaceChildren(
      ...models.map((model) => {
        const input = make("input", { type: "radio", name: "model", value: model.name, onchange: this.onChoice });
        input.checked = model.name === first;
        const facts = make("span", { class: "model-facts" }, make("span", { class: "model-id" }, idOf(model)), make("span", {}, model.sample_rate ? model.state : ""));
        return make("label", { class: "model" }, input, textOf(model), facts);
      }),
    );
    this.onChoice();
  }

  showOffers() {
    const offers = this.all.filter((model) => !this.usable.includes(model));
    this.rows.clear();
    const groups = Object.entries(GROUPS).map(([task, title]) => {
      const rows = offers.filter((model) => model.task === task).map((model) => this.row(model));
      const id = `offers-${task}`;
      return rows.length ? make("section", {}, make("h3", { id }, title), make("ul", { class: "offer-list", "aria-labelledby": id }, ...rows)) : null;
    });
    byId("offer-groups").replaceChildren(...groups.filter(Boolean));
    byId("offers").hidden = offers.length === 0;
    if (offers.some((model) => model.state === "downloading")) byId("offers").open = true;
  }

  row(model) {
    const row = make("li", { class: "offer" });
    this.rows.set(model.name, row);
    this.fill(row, model);
    return row;
  }

  // Made anew only when its state changes, or the focus would be lost.
  fill(row, model) {
    if (model.state === "downloading" && row.bar) return this.tell(row, model);
    row.bar = null;
    if (model.state === "downloading") {
      row.bar = make("progress", { class: "bar", max: "1" });
      row.text = make("span", { class: "offer-text" });
      const stop = make("button", { type: "button", class: "button small icon-only", "aria-label": `Stop the download of ${model.title}`, title: "Stop", onclick: () => this.stop(model) }, icon(ICONS.close));
      row.replaceChildren(make("div", { class: "model" }, textOf(model), stop, make("span", { class: "offer-progress" }, row.text, row.bar)));
      return this.tell(row, model);
    }
    const facts = make("span", { class: "model-facts" }, make("span", {}, factsOf(model)), icon(ICONS.download));
    const button = make("button", { type: "button", class: "model", "aria-haspopup": "dialog", title: "Download", onclick: () => this.offer(model) }, textOf(model), facts);
    row.replaceChildren(...[button, model.message ? make("p", { class: "problem" }, sentence(model.message)) : null].filter(Boolean));
  }

  tell(row, model) {
    const whole = model.progress >= 1;
    const of = model.size_mb ? ` of ${size(1e6 * model.size_mb)}` : "";
    row.text.textContent = whole ? "being checked and prepared" : `${Math.round(100 * model.progress)} %${of}`;
    if (whole) row.bar.removeAttribute("value");
    else row.bar.value = model.progress;
    row.bar.setAttribute("aria-label", `Download of ${model.title}: ${row.text.textContent}`);
  }

  // The one question before anything is fetched.
  async offer(model) {
    const licence = model.licence ?? "none stated by its authors, so you may have no right to use it";
    const facts = {
      Gives: model.sources.map(stemTitle).join(", "),
      Size: model.size_mb ? size(1e6 * model.size_mb) : "told when the download begins",
      Licence: licence,
      By: model.credits,
      Published: model.score,
    };
    const rows = Object.entries(facts).filter(([, text]) => text).flatMap(([title, text]) => [make("dt", {}, title), make("dd", {}, text)]);
    const parts = [make("dl", { class: "facts" }, ...rows)];
    if (model.missing) parts.push(make("p", { class: "problem" }, sentence(model.missing)));
    else parts.push(make("p", { class: "soft" }, "It is fetched from where its authors publish it, once. Your recordings stay here."));
    const yes = model.missing ? null : model.licence ? "Download" : "Download all the same";
    if (!(await openDialog(model.title, parts, yes))) return;
    try {
      this.take([await api.download(model.name, true)]);
      this.rows.get(model.name)?.querySelector("button")?.focus();
      this.follow();
    } catch (error) {
      this.take([{ ...model, message: error.message }]);
    }
  }

  async stop(model) {
    try {
      await api.stopDownload(model.name);
      this.take([{ ...model, state: "can be downloaded", progress: null, message: null }]);
      this.rows.get(model.name)?.querySelector("button")?.focus();
    } catch (error) {
      this.onProblem(error);
    }
  }

  take(models) {
    for (const model of models) {
      const before = this.find(model.name);
      this.all = this.all.map((one) => (one.name === model.name ? model : one));
      if (model.state === "downloaded") {
        if (before.state !== "downloaded") this.arrived(model);
        continue;
      }
      const row = this.rows.get(model.name);
      const focused = row?.contains(document.activeElement);
      if (row) this.fill(row, model);
      if (model.message && model.message !== before.message) {
        announce(model.message);
        if (focused) row.querySelector("button")?.focus();
      }
    }
  }

  // What was asked for is what the next recordings go to.
  arrived(model) {
    const focused = this.rows.get(model.name)?.contains(document.activeElement);
    this.showUsable(model.name);
    this.showOffers();
    if (focused) document.querySelector("input[name=model]:checked")?.focus();
    announce(`${model.title} is downloaded, and chosen.`);
  }

  // Follows all downloads through one stream.
  follow() {
    this.events?.close();
    this.events = null;
    const names = this.all.filter((model) => model.state === "downloading").map((model) => model.name);
    if (names.length === 0) return;
    const events = (this.events = api.modelEvents(names));
    events.addEventListener("models", (event) => this.take(JSON.parse(event.data)));
    events.addEventListener("end", () => events.close());
  }
}

const idOf = (model) => (model.sample_rate ? `${model.name} · ${model.sample_rate / 1000} kHz` : "auto");

function textOf(model) {
  const about = model.sources.map(stemTitle).join(", ") || "Talk, a song or a film: the best model here for it is taken";
  return make("span", { class: "model-text" }, make("strong", {}, model.title), make("span", { class: "soft" }, about));
}

function factsOf(model) {
  const licence = model.licence ?? "no licence stated";
  return [model.size_mb ? size(1e6 * model.size_mb) : null, licence].filter(Boolean).join(" · ");
}

const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.?!]$/.test(text) ? "" : "."}`;
