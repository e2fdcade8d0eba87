// One call of the API: the inputs of its form, the request that they make, and that request as a curl command. All
// addresses are relative, since the server may lie behind a prefix.
import {AROUND, curlOf} from "./curl.js";

export const byId = (id) => document.getElementById(id);
const SAMPLE = "samples/cat/4055.jpg";

// The last token for feedback in an answer on this page.
let feedbackToken = "";
let descriptions = 0;

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// Return a text of the API's description with what is between backticks as code.
export const prose = (text) => text.split("`").map((part, index) => (index % 2 ? make("code", {textContent: part}) : part));

export const follow = (api, node) =>
  node && node.$ref ? node.$ref.slice(2).split("/").reduce((part, key) => part[key], api) : node;

async function base64(picture) {
  const bytes = new Uint8Array(await picture.arrayBuffer());
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
}

// Return how an operation takes its body: none, the picture itself, JSON with the picture (v1, v2), or JSON of fields.
function kindOf(api, operation) {
  if (!operation.requestBody) return "none";
  const json = operation.requestBody.content["application/json"];
  if (!json) return "picture";
  const {properties} = follow(api, json.schema);
  return properties.instances ? "v1" : properties.inputs ? "v2" : "fields";
}

// Return the element that takes a value of a schema: a list of the allowed values, or a text.
function inputOf(api, schema, isRequired) {
  const {type, enum: allowed, examples} = follow(api, schema);
  const values = allowed || (type === "boolean" ? ["true", "false"] : null);
  if (values) return make("select", {}, ...[...(isRequired ? [] : [""]), ...values].map((value) => make("option", {value, textContent: value || "default"})));
  return make("input", {value: (examples || [""])[0], placeholder: isRequired ? "" : "not sent", autocomplete: "off", spellcheck: false});
}

// Return a line of a form: a name, the part of the request that has it, the input, and what it means.
function line(name, place, input, description) {
  const row = make("p", {}, make("label", {}, make("span", {}, name, place && make("i", {textContent: ` ${place}`})), input));
  if (description) {
    const text = make("small", {id: `description-${++descriptions}`}, ...prose(description));
    input.setAttribute("aria-describedby", text.id);
    row.append(" ", text);
  }
  return row;
}

// Return the name of the file that takes an answer of bytes; nothing where the answer is text.
function outputOf(operation, format) {
  const kinds = Object.keys(operation.responses["200"].content || {});
  const kind = format ? kinds.find((name) => name.includes(format)) || (format === "npy" ? "application/octet-stream" : "") : kinds[0];
  return {"image/png": "result.png", "application/octet-stream": "result.npy"}[kind] || "";
}

async function body(kind, {file, text}) {
  if (kind === "none") return undefined;
  if (kind === "fields") return text;
  const picture = file || await (await fetch(SAMPLE)).blob();
  if (kind === "picture") return picture;
  return AROUND[kind].replace("%s", await base64(picture));
}

// Remember the token of an answer that has one, for the form of feedback.
export function noteToken(answer) {
  if (typeof answer.feedback === "string") feedbackToken = answer.feedback;
}

// The form of an operation: its inputs, and the request that they make.
export class Call {
  constructor(api, path, method, operation, shared) {
    Object.assign(this, {path, method, operation, kind: kindOf(api, operation), parameters: new Map(), fields: new Map()});
    this.lines = [...shared, ...(operation.parameters || [])].map((parameter) => {
      const input = inputOf(api, parameter.schema, parameter.required);
      this.parameters.set(parameter, input);
      return line(parameter.name, parameter.in, input, parameter.description);
    });
    if (this.kind === "fields") {
      const schema = follow(api, operation.requestBody.content["application/json"].schema);
      for (const [name, property] of Object.entries(schema.properties)) {
        this.fields.set(name, inputOf(api, property, true));
        this.lines.push(line(name, "body", this.fields.get(name), follow(api, property).description));
      }
    } else if (this.kind !== "none") {
      this.file = make("input", {type: "file", accept: "image/*"});
      this.lines.push(line("picture", "body", this.file, "The sample picture if you choose none."));
    }
  }

  request() {
    let target = this.path.slice(1);
    const query = new URLSearchParams(), headers = {};
    let format = "";
    for (const [parameter, {value}] of this.parameters) {
      if (!value) continue;
      if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(value));
      else if (parameter.in === "query") query.set(parameter.name, value);
      else headers[parameter.name] = value;
      if (parameter.name === "format") format = value;
    }
    if (query.size) target += `?${query}`;
    const values = [...this.fields].map(([name, {value}]) => [name, value]);
    return {
      target, headers, file: this.file && this.file.files[0], text: JSON.stringify(Object.fromEntries(values)),
      needsKey: byId("key").value !== "" && !(this.operation.security && !this.operation.security.length),
      output: outputOf(this.operation, format),
    };
  }

  curl() {
    const request = this.request();
    const at = (target) => new URL(target, document.baseURI).href;
    return curlOf({...request, kind: this.kind, url: at(request.target), sample: at(SAMPLE), file: request.file && request.file.name});
  }

  async send() {
    const token = this.fields.get("token");
    if (token && !token.value) token.value = feedbackToken;
    const request = this.request();
    if (request.needsKey) request.headers.Authorization = `Bearer ${byId("key").value}`;
    if (this.kind !== "none" && this.kind !== "picture") request.headers["Content-Type"] = "application/json";
    const sent = await body(this.kind, request);
    return fetch(request.target, {method: this.method.toUpperCase(), headers: request.headers, body: sent});
  }
}
