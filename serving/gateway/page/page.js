"use strict";

const LIMIT = 16 * 2 ** 20;
const SLOW_MS = 30_000;
const FEW = 4;  // classes that the heading names
const FEW_LABELS = 7;  // that have a button each
const byId = (id) => document.getElementById(id);

let current = null;
let last = null;
let names = {};  // display names by label
let classCount = 0;
let rated = null;  // the answer that feedback would be about: its token and its picture

function show(id, visible) {
  byId(id).hidden = !visible;
}

function fail(sentence) {
  show("result", false);
  show("feedback", false);
  byId("error").textContent = sentence;
  show("error", true);
}

function preview(file) {
  const image = byId("preview");
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(file);
  image.alt = file.name ? `Your picture: ${file.name}` : "Your picture";
  image.onload = () => { show("preview", true); show("empty", false); };
  // A browser may not know a format that the server can read, and the other way round.
  image.onerror = () => { show("preview", false); show("empty", true); byId("empty").textContent = "No preview"; };
  byId("picture").classList.add("filled");
}

function heading(classes) {
  if (classes.length > FEW) return `Which of ${classes.length} classes is it?`;
  const shown = classes.map(shownAs);
  const text = `${shown.slice(0, -1).join(", ")} or ${shown.at(-1)}?`;
  return text[0].toUpperCase() + text.slice(1);
}

// Folders, and so classes, are often named with underscores.
function shownAs(label) {
  return (Object.hasOwn(names, label) ? names[label] : label).replaceAll("_", " ");
}

// A heading has no place for many classes; they can be read below it.
function listClasses(classes) {
  classCount = classes.length;
  byId("classlist").replaceChildren(...classes.map((label) => {
    const item = document.createElement("li");
    item.textContent = shownAs(label);
    return item;
  }));
  byId("classcount").textContent = `The ${classes.length} classes`;
  show("classes", classes.length > FEW);
}

// The model that is served says what it tells apart; until it does, the page asks in general.
async function introduce() {
  try {
    const response = await fetch("openapi.json");
    if (!response.ok) return;
    const api = await response.json();
    const label = api.components.schemas.Label;
    names = label["x-display-names"] || {};
    byId("title").textContent = heading(label.enum);
    document.title = `${heading(label.enum)} · ${api.info.title}`;
    listClasses(label.enum);
  } catch {
    // A server that cannot be reached is reported once a picture is sent.
  }
}

function sentence(label, probability) {
  const article = /^[aeiou]/i.test(label) ? "an" : "a";
  if (probability >= 0.9) return `This is ${article} ${label}.`;
  if (probability >= 0.7) return `This is probably ${article} ${label}.`;
  return `Not sure; more likely ${article} ${label}.`;
}

function percent(probability) {
  return `${(100 * probability).toFixed(1)} %`;
}

function showAnswer(answer, milliseconds) {
  byId("verdict").textContent = sentence(shownAs(answer.label), answer.probability);
  const rows = Object.entries(answer.probabilities).sort((a, b) => b[1] - a[1]).flatMap(([label, probability]) => {
    const name = document.createElement("dt");
    name.textContent = shownAs(label);
    const bar = document.createElement("dd");
    const meter = document.createElement("meter");
    meter.value = probability;
    meter.setAttribute("aria-label", `${shownAs(label)} ${percent(probability)}`);
    bar.append(meter);
    const number = document.createElement("dd");
    number.className = "number";
    number.textContent = percent(probability);
    return [name, bar, number];
  });
  byId("bars").replaceChildren(...rows);
  const named = rows.length / 3;
  const first = named < classCount ? `The ${named} most probable of ${classCount} classes. ` : "";
  byId("facts").textContent =
    `${first}Answered in ${Math.round(milliseconds)} ms by ${answer.model.name} ${answer.model.version}.`;
  show("error", false);
  show("result", true);
}

// A server that takes feedback gives a token with each answer.
function offerFeedback(answer, file) {
  rated = answer.feedback ? { token: answer.feedback, file } : null;
  byId("thanks").textContent = "";
  show("right", false);
  show("wrong", rated !== null);
  show("feedback", rated !== null);
}

function shownAsGiven(label, labels) {
  if (label !== "other") return shownAs(label);
  return labels.length === 3 ? "neither" : "something else";
}

// What may be said, and whether the picture may be stored, the server knows.
async function askWhatIsRight() {
  const mine = rated;
  try {
    const response = await fetch("feedback");
    const terms = response.ok ? await response.json() : null;
    const why = response.ok ? null : await problem(response);
    if (mine !== rated) return;
    if (!terms) return thank(why);
    const { labels, pictures } = terms;
    byId("labels").replaceChildren(...(labels.length > FEW_LABELS ? choiceOf(labels) : buttonsOf(labels)));
    byId("store").checked = false;
    show("storing", pictures);
    byId("privacy").textContent = pictures
      ? "Your answer will be stored. The picture will be stored only if you tick the box, with the place and time that a "
      + "camera writes into it."
      : "Your answer will be stored. The picture will not.";
    show("wrong", false);
    show("right", true);
    thank("");
    byId("labels").firstElementChild.focus();
  } catch {
    if (mine === rated) thank("The server cannot be reached.");
  }
}

function buttonsOf(labels) {
  return labels.map((label) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button quiet";
    button.textContent = shownAsGiven(label, labels);
    button.addEventListener("click", () => giveFeedback(label));
    return button;
  });
}

function choiceOf(labels) {
  const choice = document.createElement("select");
  choice.setAttribute("aria-label", "What the picture shows");
  choice.append(...labels.map((label) => new Option(shownAsGiven(label, labels), label)));
  const send = document.createElement("button");
  send.type = "button";
  send.className = "button quiet";
  send.textContent = "Send";
  send.addEventListener("click", () => giveFeedback(choice.value));
  return [choice, send];
}

function thank(sentence) {
  byId("thanks").textContent = sentence;
}

async function giveFeedback(label) {
  const mine = rated;
  if (mine.sending) return;  // a second click
  mine.sending = true;
  const key = byId("key").value ? { Authorization: `Bearer ${byId("key").value}` } : {};
  let body = JSON.stringify({ token: mine.token, label });
  let headers = { "Content-Type": "application/json", ...key };
  if (byId("store").checked) {
    body = new FormData();
    body.append("token", mine.token);
    body.append("label", label);
    body.append("picture", mine.file);
    headers = key;
  }
  try {
    const response = await fetch("feedback", { method: "POST", body, headers });
    const given = response.ok ? await response.json() : null;
    const why = response.ok ? null : await problem(response);
    if (mine !== rated) return;
    if (!given) return thank(why);
    show("right", false);
    thank(`Thank you. Your answer is stored${given.picture ? ", with the picture" : ""}.`);
  } catch {
    if (mine === rated) thank("The server cannot be reached.");
  } finally {
    mine.sending = false;
  }
}

async function problem(response) {
  try {
    return (await response.json()).detail || `The server answered ${response.status}.`;
  } catch {
    return `The server answered ${response.status}.`;
  }
}

async function classify(file) {
  if (current) current.abort();
  const mine = current = new AbortController();
  last = file;
  preview(file);
  show("error", false);
  offerFeedback({}, file);
  byId("verdict").textContent = "Looking …";
  byId("bars").replaceChildren();
  byId("facts").textContent = "";
  show("result", true);
  if (file.size > LIMIT) return fail("This file is larger than 16 MiB, which is the limit.");
  const started = performance.now();
  const timer = setTimeout(() => mine.abort("slow"), SLOW_MS);
  try {
    const response = await fetch("predictions", {
      method: "POST",
      body: file,
      headers: {
        "Content-Type": "application/octet-stream",
        ...(byId("key").value ? { Authorization: `Bearer ${byId("key").value}` } : {}),
      },
      signal: mine.signal,
    });
    const answer = response.ok ? await response.json() : null;
    const why = response.ok ? null : await problem(response);
    if (mine !== current) return;
    if (response.status === 401) {
      show("keyrow", true);
      byId("key").focus();
    }
    if (answer) {
      showAnswer(answer, performance.now() - started);
      offerFeedback(answer, file);
    } else fail(why);
  } catch {
    if (mine !== current) return;
    fail(mine.signal.reason === "slow" ? "The server did not answer in time. Try again." : "The server cannot be reached.");
  } finally {
    clearTimeout(timer);
  }
}

function take(files) {
  const all = [...files];
  if (all.length === 0) return fail("That was not a file. Save the picture first, then choose it here.");
  if (all.length > 1) return fail("One picture at a time, please.");
  classify(all[0]);
}

for (const id of ["file", "camera"]) {
  byId(id).addEventListener("change", (event) => {
    if (event.target.files.length) take(event.target.files);
    event.target.value = "";  // so that the same file can be chosen again
  });
}

// The server asks for a key: the picture waits until one is entered, which this page forgets when it is closed.
byId("keyform").addEventListener("submit", (event) => {
  event.preventDefault();
  if (last) classify(last);
});

byId("wrong").addEventListener("click", askWhatIsRight);
byId("right").addEventListener("submit", (event) => event.preventDefault());

document.addEventListener("paste", (event) => {
  if (event.target.id === "key") return;
  const files = [...event.clipboardData.files];
  if (files.length) { event.preventDefault(); take(files); }
  else fail("The clipboard holds no picture.");
});

let depth = 0;
document.addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; show("drop", true); });
document.addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) { depth = 0; show("drop", false); } });
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  show("drop", false);
  take(event.dataTransfer.files);
});

introduce();
