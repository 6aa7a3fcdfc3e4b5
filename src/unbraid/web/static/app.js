// The start page: what is in the recording, where it comes from, and how far it is.

import * as api from "./api.js";
import { ICONS, announce, byId, clock, icon, make, size, stemTitle, toast } from "./player/dom.js";
import { openListening } from "./listening.js";
import { Models } from "./models.js";

const KEPT = "unbraid.recordings";
const CHOSEN = "unbraid.settings";
const MOST_KEPT = 100;
const UPLOADS_AT_A_TIME = 2;

const state = { server: null, models: null, rows: new Map(), uploads: [], uploading: 0, events: null, turn: 0, player: null };

const kept = () => read(KEPT, []);

function read(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(name)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

function keep(ids) {
  localStorage.setItem(KEPT, JSON.stringify(ids.slice(0, MOST_KEPT)));
}

// ---- settings

function showSettings() {
  const chosen = read(CHOSEN, {});
  state.models.show(state.server.models, chosen.model);
  for (const name of ["format", "consistency", "shifts"]) if (chosen[name]) byId(name).value = chosen[name];
}

function showStems() {
  const select = byId("two-stems");
  const before = select.value;
  const options = (state.models.chosen?.sources ?? []).map((name) =>
    make("option", { value: name }, `${stemTitle(name)}, and the rest`),
  );
  select.replaceChildren(make("option", { value: "" }, "All of them"), ...options);
  select.value = [...select.options].some((option) => option.value === before) ? before : "";
  select.disabled = options.length < 2;
}

function settings() {
  const [container, sample] = byId("format").value.split(" ");
  const several = byId("several").value.trim();
  const fields = { model: several || state.models.chosen.name, container, consistency: byId("consistency").value, shifts: byId("shifts").value };
  if (sample) fields.sample = sample;
  if (byId("two-stems").value) fields.two_stems = byId("two-stems").value;
  if (byId("damaged").checked) Object.assign(fields, { allow_truncated: "true", replace_nonfinite: "true" });
  const chosen = { model: state.models.chosen.name, format: byId("format").value, consistency: fields.consistency, shifts: fields.shifts };
  localStorage.setItem(CHOSEN, JSON.stringify(chosen));
  return fields;
}

// ---- uploads

function take(files) {
  const { upload_bytes: most } = state.server.limits;
  for (const file of files) {
    if (file.size === 0) toast(`“${file.name}” is empty (0 bytes).`, true);
    else if (file.size > most) toast(`“${file.name}” is larger than ${size(most)}, the most that this server takes.`, true);
    else {
      const upload = { key: `upload-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`, file, fields: settings(), stop: new AbortController(), share: 0 };
      state.uploads.push(upload);
      showUpload(upload);
    }
  }
  nextUpload();
}

async function nextUpload() {
  if (state.uploading >= UPLOADS_AT_A_TIME || state.uploads.length === 0) return;
  const upload = state.uploads.shift();
  state.uploading += 1;
  upload.begun = true;
  nextUpload();
  try {
    const found = await api.submit(upload.file, upload.fields, (share) => {
      upload.share = share;
      showUpload(upload);
    }, upload.stop.signal);
    keep([found.id, ...kept()]);
    dropRow(upload.key, found.id);
    show(found);
    follow();
  } catch (error) {
    dropRow(upload.key);
    if (error.name !== "AbortError") failed(error);
  } finally {
    state.uploading -= 1;
    nextUpload();
  }
}

function stopUpload(upload) {
  upload.stop.abort();
  if (!upload.begun) {
    state.uploads = state.uploads.filter((other) => other !== upload);
    dropRow(upload.key);
  }
}

function showUpload(upload) {
  const row = rowOf(upload.key);
  const text = !upload.begun ? "waits to be sent" : upload.share < 1 ? `being sent, ${Math.round(100 * upload.share)} %` : "being checked";
  fill(row, { name: upload.file.name, facts: size(upload.file.size), text, progress: upload.share, active: true, state: "upload" });
  row.setActions("upload", () => [action("close", "Stop", `Stop sending ${upload.file.name}`, () => stopUpload(upload))]);
}

// ---- the list

function rowOf(key, before = null) {
  if (state.rows.has(key)) return state.rows.get(key);
  const row = { element: make("li", { class: "row card" }), actionsFor: null };
  row.mark = make("span", { class: "mark", "aria-hidden": "true" });
  row.name = make("span", { class: "row-name" });
  row.facts = make("span", { class: "row-facts soft" });
  row.text = make("span", { class: "row-text" });
  row.bar = make("progress", { max: "1", value: "0", class: "bar" });
  row.actions = make("span", { class: "row-actions" });
  row.setActions = (kind, actions) => {
    // Made anew only when they change, or the focus would be lost.
    if (row.actionsFor === kind) return;
    row.actionsFor = kind;
    row.actions.replaceChildren(...actions());
  };
  const main = make("span", { class: "row-main" }, row.name, row.facts);
  row.element.append(row.mark, main, make("span", { class: "row-state" }, row.text, row.bar), row.actions);
  state.rows.set(key, row);
  const list = byId("list");
  if (before) list.insertBefore(row.element, before);
  else list.prepend(row.element);
  byId("empty").hidden = true;
  return row;
}

function dropRow(key, successor = null) {
  const row = state.rows.get(key);
  if (!row) return;
  if (successor) rowOf(successor, row.element);
  row.element.remove();
  state.rows.delete(key);
  byId("empty").hidden = state.rows.size > 0;
}

function fill(row, { name, facts, text, progress, active, state: kind }) {
  row.element.dataset.state = kind;
  row.name.textContent = name;
  row.name.title = name;
  row.facts.textContent = facts;
  row.text.textContent = text;
  row.bar.hidden = !active;
  row.bar.value = progress;
  row.bar.setAttribute("aria-label", `${name}: ${text}`);
}

function show(found) {
  const row = rowOf(found.id);
  const before = row.element.dataset.state;
  const model = state.models.find(found.model);
  const facts = [model?.title ?? found.model, found.seconds ? clock(found.seconds) : null].filter(Boolean).join(" · ");
  const active = found.state === "queued" || found.state === "running";
  fill(row, { name: found.name, facts, text: words(found), progress: found.progress, active, state: found.state });
  row.setActions(found.state, () => actionsFor(found));
  if (before === "running" && found.state === "done") announce(`${found.name} is separated.`);
  if (before === "running" && found.state === "failed") announce(`${found.name} failed. ${found.message}`);
}

function words(found) {
  const left = found.seconds_left ? `, ${duration(found.seconds_left)} left` : "";
  if (found.state === "queued") return found.position === 1 ? `next in the queue${left}` : `number ${found.position} in the queue${left}`;
  if (found.state === "running") return `${Math.round(100 * found.progress)} %${left}`;
  if (found.state === "failed") return `${found.message}.`;
  if (found.state === "cancelled") return "cancelled";
  return found.stems.map((stem) => stemTitle(stem.name)).join(", ");
}

function duration(seconds) {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1).replace(".0", "")} h`;
}

function actionsFor(found) {
  const remove = action("remove", "Remove", `Remove ${found.name} and its stems`, () => removeOne(found.id));
  if (found.state === "queued" || found.state === "running") {
    return [action("close", "Cancel", `Cancel ${found.name}`, () => cancelOne(found.id))];
  }
  if (found.state !== "done") return [remove];
  const open = make("a", { class: "button primary small", href: `#/listen/${found.id}`, "aria-label": `Listen to ${found.name}` }, icon(ICONS.play), "Listen");
  const zip = make("a", { class: "button small icon-only", href: `/api/separations/${found.id}/zip`, download: true, "aria-label": `Download all stems of ${found.name}`, title: "Download all stems (zip)" }, icon(ICONS.download));
  return [open, zip, remove];
}

function action(name, title, label, onclick) {
  return make("button", { type: "button", class: "button small icon-only", "aria-label": label, title, onclick }, icon(ICONS[name]));
}

async function cancelOne(id) {
  try {
    show(await api.cancel(id));
  } catch (error) {
    failed(error);
  }
}

async function removeOne(id) {
  try {
    await api.remove(id);
  } catch {
    // It is gone already.
  }
  keep(kept().filter((other) => other !== id));
  const row = state.rows.get(id);
  const near = row?.element.nextElementSibling ?? row?.element.previousElementSibling;
  dropRow(id);
  (near?.querySelector("a, button") ?? byId("choose")).focus();
}

// Follows everything that is not at its end through one stream.
async function follow() {
  const turn = ++state.turn;
  state.events?.close();
  state.events = null;
  const ids = kept();
  if (ids.length === 0) return;
  let found;
  try {
    found = await api.several(ids);
  } catch (error) {
    return failed(error);
  }
  // Another one has begun since, and knows of more.
  if (turn !== state.turn) return;
  // Of the oldest first, so that the newest comes to stand on top.
  for (const one of [...found].reverse()) show(one);
  const there = new Set(found.map((one) => one.id));
  for (const id of ids) if (!there.has(id)) dropRow(id);
  keep(kept().filter((id) => there.has(id) || !ids.includes(id)));
  const active = found.filter((one) => one.state === "queued" || one.state === "running").map((one) => one.id);
  if (active.length === 0) return;
  const events = (state.events = api.events(active));
  events.addEventListener("separations", (event) => JSON.parse(event.data).forEach((one) => state.rows.has(one.id) && show(one)));
  events.addEventListener("end", () => {
    events.close();
    if (state.events === events) state.events = null;
  });
}

function failed(error) {
  if (error instanceof api.Unauthorised) askForToken();
  else toast(error.message, true);
}

// ---- the token of servers that others can reach

function askForToken() {
  const dialog = byId("login");
  if (!dialog.open) dialog.showModal();
}

async function login(token) {
  await api.login(token);
  await begin();
}

function listenToLogin() {
  byId("login").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await login(byId("token").value);
      byId("login").close();
    } catch (error) {
      byId("login-problem").textContent = error.message;
      byId("login-problem").hidden = false;
    }
  });
  byId("login").addEventListener("cancel", (event) => event.preventDefault());
}

// ---- which view is shown

async function route() {
  const id = location.hash.match(/^#\/listen\/([\w-]+)$/)?.[1];
  state.player?.close();
  state.player = null;
  byId("home").hidden = Boolean(id);
  byId("player").hidden = !id;
  document.body.classList.toggle("listening", Boolean(id));
  if (!id) {
    document.title = "unbraid";
    follow();
    return;
  }
  try {
    const [found, tracks] = await Promise.all([api.one(id), api.tracks(id)]);
    if (location.hash !== `#/listen/${id}`) return;
    if (!kept().includes(id)) keep([id, ...kept()]);
    state.player = openListening(byId("player"), found, tracks, state.models, separatedAgain);
    document.title = `${found.name} · unbraid`;
    byId("main").focus({ preventScroll: true });
    window.scrollTo(0, 0);
  } catch (error) {
    failed(error);
    if (!(error instanceof api.Unauthorised)) location.hash = "#/";
  }
}

// What was asked for from the player waits in the list like any other.
function separatedAgain(found) {
  keep([found.id, ...kept()]);
  location.hash = "#/";
}

// ---- start

function listen() {
  const input = byId("files");
  byId("choose").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    take([...input.files]);
    input.value = "";
  });
  const drop = byId("drop");
  let depth = 0;
  const over = (inside) => drop.classList.toggle("over", inside);
  document.addEventListener("dragenter", (event) => {
    event.preventDefault();
    depth += 1;
    over(true);
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("dragleave", () => {
    depth -= 1;
    if (depth <= 0) over(false);
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    over(false);
    if (event.dataTransfer.files.length === 0 || !state.server) return;
    location.hash = "#/";
    take([...event.dataTransfer.files]);
  });
  window.addEventListener("hashchange", () => {
    if (!useToken()) route();
  });
  listenToLogin();
}

// A token behind the # is changed for a cookie, and taken out of the address.
function useToken() {
  const token = location.hash.match(/^#token=(.+)$/)?.[1];
  if (!token) return false;
  history.replaceState(null, "", "/");
  login(decodeURIComponent(token)).catch(failed);
  return true;
}

async function begin() {
  try {
    state.server = await api.server();
  } catch (error) {
    return failed(error);
  }
  const { limits, version, devices } = state.server;
  const local = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  byId("where").textContent = local ? "On this machine; nothing leaves it" : `On ${location.hostname}, ${devices.join(", ")}`;
  byId("where").title = `unbraid ${version} on ${devices.join(", ")}`;
  byId("limit").textContent = `up to ${size(limits.upload_bytes)} and ${duration(limits.seconds)} each`;
  byId("kept").textContent = `Kept for ${limits.keep_hours >= 48 ? `${Math.round(limits.keep_hours / 24)} days` : `${limits.keep_hours} hours`}`;
  showSettings();
  await route();
  document.body.classList.add("ready");
}

state.models = new Models(showStems, failed);
listen();
if (!useToken()) begin();
