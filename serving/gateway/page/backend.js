// Every request of the page to its server. Every address is relative, so that a path prefix does not matter.
//
// Another backend.js with the same exports can take its place, for instance one that computes in the browser.

const MAX_BYTES = 16 * 2 ** 20;
// Seconds that the server may take after the upload has ended. The gateway limits the upload itself, to 60 seconds.
const MAX_ANSWER_S = 30;

const CARD = { text: "About the model", href: "model-card" };
const SAMPLES = [
  { href: "samples/cat/4055.jpg", text: "tabby cat" },
  { href: "samples/dog/4123.jpg", text: "puppy" },
  { href: "samples/cat/4780.jpg", text: "cat" },
  { href: "samples/dog/420.jpg", text: "dog" },
];

let key = "";
let introduction = null;

// An error with a sentence for people. `status` is HTTP's, or 0 where there was no answer; `code` is the problem
// document's.
export class AnswerError extends Error {
  constructor(message, { status = 0, code = "unreachable" } = {}) {
    super(message);
    this.name = "AnswerError";
    Object.assign(this, { status, code });
  }
}

// Sets the API key that is sent from now on. It is kept in memory alone.
export function setKey(value) {
  key = value;
}

// Returns what the model tells apart, and what the server offers: {name, version, precision, server, classes, names, unsure,
// feedback, explanations, uploads, links, samples}. `version` and `precision` are null where only an answer tells.
// `uploads` says that pictures leave this browser: it can then scale them first, and programs can ask as it does.
export function introduce() {
  introduction ??= describe().catch((error) => {
    introduction = null;
    throw error;
  });
  return introduction;
}

async function describe() {
  const api = await json(await ask("openapi.json"));
  const { Label, Answer } = api.components.schemas;
  const paths = Object.keys(api.paths ?? {});
  return {
    name: api.info.title,
    version: api.info["x-model"]?.version ?? null,
    precision: null,
    server: api.info.version ?? null,
    classes: Label.enum,
    names: Label["x-display-names"] ?? {},
    unsure: Boolean(Answer?.properties?.unsure),
    feedback: paths.includes("/feedback"),
    explanations: paths.some((path) => path.startsWith("/explanations")),
    uploads: true,
    links: [{ text: "For programs", href: "docs" }, ...(api.info["x-model"]?.card ? [CARD] : [])],
    samples: ["cat", "dog"].every((label) => Label.enum.includes(label)) ? SAMPLES : [],
  };
}

// Returns the server's answer to a picture. `onSent` is told how many bytes of how many have been sent.
export async function classify(blob, { signal, onSent } = {}) {
  if (!blob.size) throw new AnswerError("The file is empty.", { status: 400, code: "no_image" });
  if (blob.size > MAX_BYTES) {
    throw new AnswerError("This file is larger than 16 MiB, which is the limit.", { status: 413, code: "too_many_bytes" });
  }
  const unsure = await introduce().then((model) => model.unsure, () => false);
  signal?.throwIfAborted();
  return parsed(await upload(`predictions${unsure ? "?unsure=true" : ""}`, blob, signal, onSent));
}

// A proxy or a login page may answer 200 in place of the server.
function parsed(text) {
  try {
    const answer = JSON.parse(text);
    if (answer.label && answer.probabilities && answer.model) return answer;
  } catch { /* no JSON */ }
  throw new AnswerError("This answer is not the server's: a proxy or a login page may be in between.");
}

// XMLHttpRequest, because fetch does not tell how much of a body has been sent.
function upload(path, blob, signal, onSent) {
  const request = new XMLHttpRequest();
  return new Promise((resolve, reject) => {
    let timer = null;
    const abort = () => { request.abort(); reject(signal.reason); };
    request.upload.addEventListener("progress", (event) => onSent?.(event.loaded, event.total));
    request.upload.addEventListener("load", () => {
      onSent?.(blob.size, blob.size);
      timer = setTimeout(() => {
        request.abort();
        reject(new AnswerError("The server did not answer in time. Try again.", { code: "slow" }));
      }, 1000 * MAX_ANSWER_S);
    });
    request.addEventListener("load", () => {
      if (request.status === 200) resolve(request.responseText);
      else reject(refusal(request.status, request.responseText));
    });
    request.addEventListener("error", () => reject(unreachable()));
    request.addEventListener("loadend", () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    });
    signal?.addEventListener("abort", abort);
    request.open("POST", path);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.send(blob);
  });
}

// Returns the map of what in a picture speaks for a class, as /explanations answers it.
export async function explain(blob, label, { signal } = {}) {
  return json(await ask(`explanations?${new URLSearchParams({ class: label })}`, {
    method: "POST",
    body: blob,
    headers: { Accept: "application/json", "Content-Type": "application/octet-stream", ...authorization() },
    signal,
  }));
}

// Returns the labels that may be given, and whether the picture may be stored: {labels, pictures}.
export async function feedbackTerms() {
  return json(await ask("feedback"));
}

// Stores the right label of an answer, and its picture where one is given.
export async function giveFeedback({ token, label, blob }) {
  let body = JSON.stringify({ token, label });
  let headers = { "Content-Type": "application/json", ...authorization() };
  if (blob) {
    body = new FormData();
    body.append("token", token);
    body.append("label", label);
    body.append("picture", blob);
    headers = authorization();
  }
  return json(await ask("feedback", { method: "POST", body, headers }));
}

// Returns "ready", "starting" where the server is there and no worker is, or "unreachable".
export async function state() {
  try {
    await ask("readyz");
    return "ready";
  } catch (error) {
    return error.code === "unreachable" ? "unreachable" : "starting";
  }
}

function authorization() {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

function unreachable() {
  return new AnswerError("The server cannot be reached.");
}

async function ask(path, options) {
  const response = await fetch(path, options).catch((error) => {
    throw error.name === "AbortError" ? error : unreachable();
  });
  if (!response.ok) throw refusal(response.status, await response.text());
  return response;
}

async function json(response) {
  return response.json().catch(() => { throw unreachable(); });
}

function refusal(status, text) {
  try {
    const { detail, code } = JSON.parse(text);
    const sentence = typeof detail === "string" && detail ? detail : `The server answered ${status}.`;
    return new AnswerError(sentence, { status, code: code || "unknown" });
  } catch {
    return new AnswerError(`The server answered ${status}.`, { status, code: "unknown" });
  }
}
