// The worker: decodes and computes, so that the page stays responsive. Requests are answered in turn.
//
// Messages in: {id, task: "load" | "classify" | "explain", blob, label}, and {cancelled: id}, which takes back a request that
// waits. Out: {id, value} or {id, error}; and {model} about the download: {loaded, total} bytes, {isReady}, or {problem}.

import { answerOf, explanationOf } from "./answers.js";
import { decode } from "./decode.js";
import { fetchFile } from "./download.js";
import { loadNetwork } from "./network.js";
import { Problem } from "./problem.js";

let loading = null;  // the network, as a promise
let last = Promise.resolve();
const cancelled = new Set();

const tell = (model) => postMessage({ model });

async function download() {
  const facts = await (await fetchFile("model.json")).json();
  return loadNetwork(facts, (loaded, total) => tell({ loaded, total }));
}

// A download that failed is tried again by the next request.
function load() {
  loading ??= download().then((network) => {
    tell({ isReady: true });
    return network;
  }, (error) => {
    loading = null;
    const problem = `The model could not be loaded: ${error.message}.`;
    tell({ problem });
    throw new Problem(503, "unreachable", problem);
  });
  return loading;
}

const TASKS = {
  load: async () => { await load(); },
  classify: async ({ blob }) => {
    const network = await load();
    const { pixels } = await decode(blob, network.facts.input);
    return answerOf((await network.run(pixels)).logits, network.facts);
  },
  explain: async ({ blob, label }) => {
    const network = await load();
    const { facts } = network;
    const picture = await decode(blob, facts.input);
    const { logits, features } = await network.run(picture.pixels);
    const map = network.classMap(features, facts.classes.indexOf(label));
    return explanationOf(label, map, picture, answerOf(logits, facts), facts);
  },
};

async function respond({ id, task, ...request }) {
  if (cancelled.has(id)) return;
  try {
    postMessage({ id, value: await TASKS[task](request) });
  } catch (error) {
    const { status = 500, code = "internal", message } = error;
    postMessage({ id, error: { status, code, message } });
  }
}

addEventListener("message", ({ data }) => {
  if (data.cancelled) cancelled.add(data.cancelled);
  else last = last.then(() => respond(data));
});
