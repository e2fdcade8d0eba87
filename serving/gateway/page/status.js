// The page's foot: which model answers, and whether its server is there.

import { state } from "./backend.js";
import { byId, make } from "./dom.js";

const AGAIN_MS = 5000;  // between questions to a server that is not ready
const SENTENCES = {
  ready: "Ready",
  loading: "Loading the model …",
  unloaded: "The model is not loaded.",
  starting: "The server is starting, or has no worker. This page asks again.",
  unreachable: "The server cannot be reached. This page asks again.",
};

let facts = {};
let timer = null;
let onReturn = () => {};
let asked = 0;  // questions so far: many pictures may fail at once, and only the last of them goes on asking

// Adds facts about the model: name, version, precision, server.
export function setFacts(added) {
  facts = { ...facts, ...Object.fromEntries(Object.entries(added).filter(([, value]) => value)) };
  const { name, version, precision, server } = facts;
  const parts = [[name, version].filter(Boolean).join(" "), precision, server && `server ${server}`];
  byId("model").textContent = parts.filter(Boolean).join(" · ");
}

export function setLinks(links) {
  byId("links").replaceChildren(...links.map(({ text, href }) => make("li", {}, make("a", { href, textContent: text }))));
}

// Shows the server's state, and goes on asking while it is not ready. Calls `returned`, else what the last call was given,
// when it is ready after all.
export async function watchState(returned = onReturn) {
  onReturn = returned;
  clearTimeout(timer);
  asked += 1;
  const mine = asked;
  const now = await state();
  if (mine !== asked) return;
  const before = byId("state").dataset.state;
  byId("state").dataset.state = now;
  byId("state").textContent = SENTENCES[now] ?? now;
  if (now !== "ready") timer = setTimeout(watchState, AGAIN_MS);
  else if (before && before !== "ready") returned();
}
