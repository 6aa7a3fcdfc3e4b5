// Reports: each group of sounds of the page becomes a player; without scripts they stay pictures and sounds.

import { make } from "./dom.js";
import { EmbeddedSource } from "./embedded.js";
import { Player } from "./player.js";

const players = [];

for (const place of document.querySelectorAll(".sounds")) {
  const figures = [...place.querySelectorAll("figure")];
  const facts = place.dataset;
  const tracks = {
    names: figures.map((figure) => figure.dataset.name),
    roles: figures.map((figure) => figure.dataset.role),
    sample_rate: Number(facts.rate),
    num_channels: Number(facts.channels),
    num_samples: Number(facts.samples),
  };
  const sounds = figures.map((figure) => figure.querySelector("audio"));
  const pictures = figures.map((figure) => figure.querySelector("img"));
  const labels = pictures.map((picture) => picture.alt);
  const root = make("div", { class: "player embedded", role: "group", "aria-label": `Player: ${facts.title}`, tabindex: "-1" });
  place.before(root);
  place.hidden = true;
  const source = new EmbeddedSource(root, tracks, sounds, pictures);
  const player = new Player(root, { name: facts.title, tracks, source, labels }, { embedded: true });
  player.transport.addEventListener("change", () => {
    // One at a time.
    if (player.transport.playing) for (const other of players) if (other !== player) other.transport.pause();
  });
  players.push(player);
}
