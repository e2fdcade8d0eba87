// Everything that the page asks for, computed in this browser: the same exports as serving/gateway/page/backend.js.

let worker = null;
let introduction = null;
let modelState = "loading";
let watch = () => {};
const waiting = new Map();  // {resolve, reject} by the id of a request

// An error with a sentence for people. `status` and `code` are those that the server would give.
export class AnswerError extends Error {
  constructor(message, { status = 0, code = "unreachable" } = {}) {
    super(message);
    this.name = "AnswerError";
    Object.assign(this, { status, code });
  }
}

// A worker that is started from a blob has this page's content security policy, also where a host sends no header.
function start() {
  const code = `import ${JSON.stringify(new URL("compute/worker.js", import.meta.url).href)};`;
  const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  const started = new Worker(address, { type: "module" });
  started.addEventListener("message", () => URL.revokeObjectURL(address), { once: true });
  started.addEventListener("message", ({ data }) => {
    if (data.model) return report(data.model);
    const request = waiting.get(data.id);
    waiting.delete(data.id);
    if (data.error) request?.reject(new AnswerError(data.error.message, data.error));
    else request?.resolve(data.value);
  });
  started.addEventListener("error", () => stop(started));
  return started;
}

// A worker whose code could not be loaded never answers. The next request starts another one.
function stop(stopped) {
  if (stopped !== worker) return;
  worker.terminate();
  worker = null;
  const problem = "The model could not be started: its files cannot be reached, or this browser cannot run it.";
  for (const { reject } of waiting.values()) reject(new AnswerError(problem));
  waiting.clear();
  report({ problem });
}

function report(change) {
  modelState = change.isReady ? "ready" : change.problem ? "unloaded" : "loading";
  watch(change);
}

function ask(task, details = {}, signal = undefined) {
  worker ??= start();
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const id = crypto.getRandomValues(new Uint32Array(2)).join();
    waiting.set(id, { resolve, reject });
    signal?.addEventListener("abort", () => {
      if (waiting.delete(id)) worker.postMessage({ cancelled: id });
      reject(signal.reason);
    });
    worker.postMessage({ id, task, ...details });
  });
}

// Downloads the model. `onChange` is told of {loaded, total} bytes, and then that it `isReady`, or of a `problem`.
export function load(onChange) {
  watch = onChange;
  ask("load").catch(() => {});  // the worker's report says why
}

// Returns what the model tells apart, and what this page offers.
export function introduce() {
  introduction ??= describe().catch((error) => {
    introduction = null;
    throw error;
  });
  return introduction;
}

async function describe() {
  const response = await fetch(new URL("model.json", import.meta.url)).catch(() => null);
  if (!response?.ok) throw new AnswerError("The model cannot be reached.");
  const facts = await response.json();
  return {
    ...facts.model,
    server: null,
    classes: facts.classes,
    names: facts.names,
    unsure: facts.threshold !== null,
    feedback: false,
    explanations: facts.head !== null,
    uploads: false,
    links: facts.links,
    samples: facts.samples,
  };
}

// Returns the answer to a picture, in the form of the server's. Nothing is sent, so there is no progress of it.
export function classify(blob, { signal } = {}) {
  return ask("classify", { blob }, signal);
}

// Returns the map of what in a picture speaks for a class, as the server's /explanations answers it.
export function explain(blob, label, { signal } = {}) {
  return ask("explain", { blob, label }, signal);
}

// Returns "loading", "ready", or "unloaded" where the model could not be loaded.
export async function state() {
  return modelState;
}

// There is no key, and nobody to give feedback to.
export function setKey() {}

export async function feedbackTerms() {
  throw new AnswerError("This page takes no feedback.", { status: 404, code: "not_found" });
}

export const giveFeedback = feedbackTerms;
