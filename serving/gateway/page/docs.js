// Shows openapi.json, sends requests by it, and shows each as a curl command. No library, no request to anybody else.
import {Call, byId, follow, make, noteToken, prose} from "./call.js";

// Most characters of an answer that are shown.
const MOST = 20000;

// Return a call's name; a long path is broken before a slash.
const nameOf = (method, path) => [`${method.toUpperCase()} `, ...path.split(/(?=\/)/).flatMap((part) => [document.createElement("wbr"), part])];

function answersOf(api, operation) {
  const rows = Object.entries(operation.responses).map(([status, response]) =>
    make("tr", {}, make("th", {scope: "row", textContent: status}), make("td", {}, ...prose(follow(api, response).description))));
  const head = make("tr", {}, make("th", {scope: "col", textContent: "Status"}), make("th", {scope: "col", textContent: "Meaning"}));
  return make("details", {}, make("summary", {textContent: "Answers"}),
    make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
}

// Return JSON with a line for each member. What is not JSON, such as an answer of a proxy, is returned as it is.
function indented(text) {
  try {
    const value = JSON.parse(text);
    noteToken(value);
    return JSON.stringify(value, null, 2);
  } catch {
    return text;
  }
}

// Return the part of an answer that is shown: a picture, a file, or the beginning of a text.
async function content(response) {
  const kind = response.headers.get("Content-Type") || "";
  if (/^image|octet-stream/.test(kind)) {
    const blob = await response.blob();
    const address = URL.createObjectURL(blob);
    if (/^image/.test(kind)) return make("img", {src: address, alt: "result", onload: () => URL.revokeObjectURL(address)});
    return make("a", {href: address, download: "result.npy", textContent: `result.npy, ${blob.size} bytes`});
  }
  const text = await response.text();
  const shown = /json/.test(kind) ? indented(text) : text;
  return shown.length > MOST ? `${shown.slice(0, MOST)}…` : shown;
}

// Copy an element's text. Browsers offer the clipboard to pages of HTTPS and of this machine alone.
async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
  } catch {
    getSelection().selectAllChildren(element);
    document.execCommand("copy");
  }
}

// Return the curl command of a call, which follows its inputs, and a button that copies it.
function commandOf(call, form) {
  const command = make("code");
  const button = make("button", {type: "button", className: "button quiet", textContent: "Copy curl command"});
  const said = make("span", {className: "said"});
  said.setAttribute("role", "status");
  const write = () => { command.textContent = call.curl(); said.textContent = ""; };
  form.addEventListener("input", write);
  byId("key").addEventListener("input", write);
  button.addEventListener("click", async () => { await copy(command); said.textContent = "Copied."; });
  write();
  return {write, block: make("div", {className: "command"}, command, button, said)};
}

function card(api, path, method, operation, shared) {
  const call = new Call(api, path, method, operation, shared);
  const name = `${method.toUpperCase()} ${path}`;
  const output = make("pre", {hidden: true, tabIndex: 0});
  output.setAttribute("aria-live", "polite");
  output.setAttribute("aria-label", `Answer of ${name}`);
  output.setAttribute("role", "region");
  const form = make("form", {}, ...call.lines, make("button", {type: "submit", className: "button", textContent: "Send"}));
  const command = commandOf(call, form);
  let sent = 0;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const number = ++sent;
    output.hidden = false;
    output.textContent = "…";
    try {
      const started = performance.now();
      const response = await call.send();
      const shown = await content(response);
      const ms = Math.round(performance.now() - started);
      // An answer to an earlier request must not replace that to a later one.
      if (number === sent) output.replaceChildren(`${response.status} after ${ms} ms, request ${response.headers.get("X-Request-Id") || "unnamed"}\n\n`, shown);
    } catch (error) {
      if (number === sent) output.textContent = `No answer. Is the server running, and can this machine reach it? (${error.message})`;
    }
    command.write();
  });
  return make("article", {id: operation.operationId},
    make("h2", {}, make("code", {}, ...nameOf(method, path))),
    make("p", {}, ...prose(operation.summary)), form, command.block, output, answersOf(api, operation));
}

// Show links to all calls, by their tag.
function showContents(api, operations) {
  for (const {name, description} of api.tags) {
    const links = operations.filter(({operation}) => operation.tags.includes(name)).map(({path, method, operation}) =>
      make("li", {}, make("a", {href: `#${operation.operationId}`}, ...nameOf(method, path))));
    if (links.length) byId("contents").append(make("p", {}, make("b", {textContent: name}), ` ${description}`), make("ul", {}, ...links));
  }
  byId("contents").hidden = false;
}

async function show() {
  try {
    const api = await (await fetch("openapi.json")).json();
    document.title = byId("title").textContent = `API of ${api.info.title}`;
    const operations = Object.entries(api.paths).flatMap(([path, item]) =>
      ["get", "post"].filter((method) => item[method]).map((method) =>
        ({path, method, operation: item[method], shared: item.parameters || []})));
    showContents(api, operations);
    byId("operations").append(...operations.map(({path, method, operation, shared}) => card(api, path, method, operation, shared)));
    if (location.hash) document.querySelector(`[id="${CSS.escape(location.hash.slice(1))}"]`)?.scrollIntoView();
  } catch (error) {
    byId("error").hidden = false;
    byId("error").textContent = `openapi.json cannot be read: ${error.message}`;
  }
}

show();
