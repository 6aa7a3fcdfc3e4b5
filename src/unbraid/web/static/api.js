// The HTTP API as functions. Every problem is an Error whose message is a sentence for people.

export class Unauthorised extends Error {}

async function ask(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw new Error("The server does not answer: is unbraid serve still running?");
  }
  if (answer.ok) return answer;
  throw problemOf(answer.status, await answer.text());
}

function problemOf(status, text) {
  let sentence = `The server answers ${status}.`;
  try {
    sentence = inPageWords(JSON.parse(text).detail);
  } catch {
    // no words came along
  }
  return status === 401 ? new Unauthorised(sentence) : new Error(sentence);
}

// Settings are called as the page calls them.
function inPageWords(text) {
  const words = text
    .replace(/pass `(allow_truncated|replace_nonfinite)=True`[^.]*/, "tick “Take what there is of damaged files” and send it again")
    .replace(/pass `container="wav"`( or `container="flac"`)?/, "choose another format");
  const sentence = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.?!]$/.test(sentence) ? sentence : `${sentence}.`;
}

const json = async (address, options) => (await ask(address, options)).json();

export const server = () => json("/api/server");
export const several = (ids) => json(`/api/separations?${query(ids)}`);
export const one = (id) => json(`/api/separations/${id}`);
export const tracks = (id) => json(`/api/separations/${id}/tracks`);
export const cancel = (id) => json(`/api/separations/${id}/cancel`, { method: "POST" });
export const remove = (id) => ask(`/api/separations/${id}`, { method: "DELETE" });
export const events = (ids) => new EventSource(`/api/events?${query(ids)}`);

export const models = () => json("/api/models");
export const download = (name, agreed) => json(`${modelAt(name)}/download`, body({ agreed }));
export const stopDownload = (name) => ask(`${modelAt(name)}/download`, { method: "DELETE" });
export const modelEvents = (names) => new EventSource(`/api/models/events?${query(names, "names")}`);

export function login(token) {
  return ask("/api/login", body({ token }));
}

export const again = (id, request) => json(`/api/separations/${id}/again`, body(request));

export async function remix(id, request) {
  return (await ask(`/api/separations/${id}/remix`, body(request))).blob();
}

// Sends a recording, telling how much is there; `signal` ends it.
export function submit(file, fields, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const form = new FormData();
    for (const [name, value] of Object.entries(fields)) form.append(name, value);
    form.append("file", file, file.name);
    const request = new XMLHttpRequest();
    request.open("POST", "/api/separations");
    request.upload.addEventListener("progress", (event) => onProgress(event.loaded / Math.max(1, event.total)));
    request.addEventListener("load", () => {
      if (request.status === 201) resolve(JSON.parse(request.responseText));
      else reject(problemOf(request.status, request.responseText));
    });
    request.addEventListener("error", () => reject(new Error("The upload was cut off: check the server and try again.")));
    request.addEventListener("abort", () => reject(new DOMException("stopped", "AbortError")));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

const query = (ids, key = "ids") => ids.map((id) => `${key}=${encodeURIComponent(id)}`).join("&");
const modelAt = (name) => `/api/models/${encodeURIComponent(name)}`;
const body = (value) => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(value),
});
