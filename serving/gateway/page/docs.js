// Shows openapi.json and sends requests by it. No library, no request to anybody else.
"use strict";

const byId = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const follow = (api, node) =>
  node && node.$ref ? node.$ref.slice(2).split("/").reduce((part, key) => part[key], api) : node;

async function base64(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
}

// What a chosen picture becomes: itself, or the JSON that the path takes.
async function body(operation, file) {
  if (!(operation.requestBody.content["application/json"])) return file;
  const picture = await base64(file);
  return operation.operationId.startsWith("inferV2")
    ? JSON.stringify({inputs: [{name: "image", datatype: "BYTES", shape: [1], data: [picture]}]})
    : JSON.stringify({instances: [{b64: picture}]});
}

function answersOf(api, operation) {
  const rows = Object.entries(operation.responses).map(([status, response]) =>
    make("tr", {}, make("td", {textContent: status}), make("td", {textContent: follow(api, response).description})));
  return make("details", {}, make("summary", {textContent: "Answers"}), make("table", {}, ...rows));
}

// Characters of an answer that are shown.
const MOST = 20000;

// Of an answer: a picture, a file, or the beginning of a text.
async function content(response) {
  const kind = response.headers.get("Content-Type") || "";
  if (/^image|octet-stream/.test(kind)) {
    const blob = await response.blob();
    const address = URL.createObjectURL(blob);
    if (/^image/.test(kind)) return make("img", {src: address, alt: "result"});
    return make("a", {href: address, download: "result.npy", textContent: `result.npy, ${blob.size} bytes`});
  }
  const text = await response.text();
  const shown = /json/.test(kind) ? JSON.stringify(JSON.parse(text), null, 2) : text;
  return shown.length > MOST ? `${shown.slice(0, MOST)}…` : shown;
}

function card(api, path, method, operation, shared) {
  const inputs = new Map();
  const fields = [...shared, ...(operation.parameters || [])].map((parameter) => {
    const input = make("input", {value: (parameter.schema.examples || [""])[0], placeholder: parameter.in});
    inputs.set(parameter, input);
    const label = make("label", {}, `${parameter.name} `, input);
    if (parameter.description) label.title = parameter.description;
    return make("p", {}, label);
  });
  const file = operation.requestBody ? make("input", {type: "file", accept: "image/*"}) : null;
  if (file) fields.push(make("p", {}, make("label", {}, "picture ", file)));
  const output = make("pre", {hidden: true});
  output.setAttribute("aria-live", "polite");
  const send = make("button", {type: "submit", className: "button", textContent: "Send"});
  const form = make("form", {}, ...fields, send);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    output.hidden = false;
    if (file && !file.files.length) {
      output.textContent = "Choose a picture first.";
      return;
    }
    let target = path.slice(1); // relative: the server may lie behind a prefix
    const query = new URLSearchParams();
    const headers = {};
    for (const [parameter, {value}] of inputs) {
      if (!value) continue;
      if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(value));
      else if (parameter.in === "query") query.set(parameter.name, value);
      else headers[parameter.name] = value;
    }
    if (byId("key").value) headers.Authorization = `Bearer ${byId("key").value}`;
    if (query.size) target += `?${query}`;
    output.textContent = "…";
    const started = performance.now();
    try {
      const sent = file ? await body(operation, file.files[0]) : undefined;
      const response = await fetch(target, {method: method.toUpperCase(), headers, body: sent});
      const shown = await content(response);
      const ms = Math.round(performance.now() - started);
      output.replaceChildren(`${response.status} after ${ms} ms, request ${response.headers.get("X-Request-Id") || "unnamed"}\n\n`, shown);
    } catch (error) {
      output.textContent = `No answer: ${error.message}`;
    }
  });
  return make("article", {id: operation.operationId},
    make("h2", {}, make("code", {textContent: `${method.toUpperCase()} ${path}`})),
    make("p", {textContent: operation.summary}), form, output, answersOf(api, operation));
}

async function show() {
  try {
    const api = await (await fetch("openapi.json")).json();
    document.title = byId("title").textContent = `API of ${api.info.title}`;
    for (const [path, item] of Object.entries(api.paths)) {
      for (const method of ["get", "post"]) {
        if (item[method]) byId("operations").append(card(api, path, method, item[method], item.parameters || []));
      }
    }
  } catch (error) {
    byId("error").hidden = false;
    byId("error").textContent = `openapi.json cannot be read: ${error.message}`;
  }
}

show();
