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
let saysUnsure = false;  // whether the model has a threshold below which its answers are unsure
let asked = null;  // the answer that "Why?" is about: its labels and its picture
let rated = null;  // the answer that feedback would be about: its token and its picture

function show(id, visible) {
  byId(id).hidden = !visible;
}

function fail(sentence) {
  show("result", false);
  show("explanation", false);
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
    saysUnsure = Boolean(api.components.schemas.Answer?.properties?.unsure);
    byId("title").textContent = heading(label.enum);
    document.title = `${heading(label.enum)} · ${api.info.title}`;
    listClasses(label.enum);
  } catch {
    // A server that cannot be reached is reported once a picture is sent.
  }
}

function sentence(label, probability, unsure) {
  const article = /^[aeiou]/i.test(label) ? "an" : "a";
  if (unsure) return `Not sure; more likely ${article} ${label}. It may be something else.`;
  if (probability >= 0.9) return `This is ${article} ${label}.`;
  if (probability >= 0.7) return `This is probably ${article} ${label}.`;
  return `Not sure; more likely ${article} ${label}.`;
}

function percent(probability) {
  return `${(100 * probability).toFixed(1)} %`;
}

function showAnswer(answer, milliseconds) {
  byId("verdict").textContent = sentence(shownAs(answer.label), answer.probability, answer.unsure);
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

// The picture is asked about again, and a map of it drawn over it, only where somebody wants to know.
function offerExplanation(answer, file) {
  asked = answer.probabilities ? { labels: Object.keys(answer.probabilities), label: answer.label, file } : null;
  hideExplanation();
  byId("explained").replaceChildren(...(asked ? asked.labels : []).map((label) => new Option(shownAs(label), label)));
  byId("explained").value = answer.label;
  show("explanation", asked !== null);
}

function hideExplanation() {
  show("because", false);
  show("others", false);
  byId("why").setAttribute("aria-expanded", "false");
  if (!byId("map").hidden) show("preview", true);
  show("map", false);
}

async function explain() {
  const mine = asked;
  const label = byId("explained").value;
  byId("why").setAttribute("aria-expanded", "true");
  show("because", true);
  byId("reason").textContent = "Looking …";
  try {
    const response = await fetch(`explanations?${new URLSearchParams({ class: label })}`, {
      method: "POST",
      body: mine.file,
      headers: {
        Accept: "application/json",
        "Content-Type": "application/octet-stream",
        ...(byId("key").value ? { Authorization: `Bearer ${byId("key").value}` } : {}),
      },
    });
    const explanation = response.ok ? await response.json() : null;
    const why = response.ok ? null : await problem(response);
    if (mine !== asked || label !== byId("explained").value || byId("because").hidden) return;
    show("others", explanation !== null && mine.labels.length > 1);
    byId("reason").textContent = explanation ? drawn(explanation) : why;
  } catch {
    if (mine === asked) byId("reason").textContent = "The server cannot be reached.";
  }
}

// The colours of handler/overlay.py.
const FOR = [230, 97, 0];
const AGAINST = [93, 58, 155];
const OPACITY = 0.65;
const LONGEST = 1024;

// Draws the picture with the map over it, and returns a sentence that says the same.
function drawn(explanation) {
  const image = byId("preview");
  const canvas = byId("map");
  if (!image.naturalWidth) return "This browser cannot show the picture, so nothing can be marked in it.";
  const scale = Math.min(1, LONGEST / Math.max(image.naturalWidth, image.naturalHeight));
  canvas.width = Math.max(1, Math.round(image.naturalWidth * scale));
  canvas.height = Math.max(1, Math.round(image.naturalHeight * scale));
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const { picture, area, map } = explanation;
  const [x, y] = [canvas.width / picture.width, canvas.height / picture.height];
  context.imageSmoothingQuality = "high";
  context.drawImage(colours(map), area.left * x, area.top * y, area.width * x, area.height * y);
  const name = shownAs(explanation.class);
  const sentence = `Orange parts speak for ${name}, violet parts against it. ${strongest(map, name)}`;
  canvas.setAttribute("aria-label", `${image.alt}. ${sentence}`);
  show("preview", false);
  show("map", true);
  return sentence;
}

function colours(map) {
  const small = document.createElement("canvas");
  small.width = map[0].length;
  small.height = map.length;
  const context = small.getContext("2d");
  const most = Math.max(...map.flat().map(Math.abs), 1e-9);
  const pixels = map.flat().flatMap((value) =>
    [...(value > 0 ? FOR : AGAINST), Math.round(255 * OPACITY * Math.abs(value) / most)]);
  context.putImageData(new ImageData(new Uint8ClampedArray(pixels), small.width, small.height), 0, 0);
  return small;
}

function strongest(map, name) {
  const values = map.flat();
  const most = Math.max(...values);
  if (most <= 0) return `Nothing in the picture speaks for ${name}.`;
  const at = values.indexOf(most);
  const third = (place, count, names) => names[Math.min(2, Math.floor((3 * (place + 0.5)) / count))];
  const row = third(Math.floor(at / map[0].length), map.length, ["top", "middle", "bottom"]);
  const column = third(at % map[0].length, map[0].length, ["left", "centre", "right"]);
  const where = row === "middle" && column === "centre" ? "in the centre" : `at the ${row} ${column}`;
  return `The strongest sign of ${name} is ${where}.`;
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
  offerExplanation({}, file);
  offerFeedback({}, file);
  byId("verdict").textContent = "Looking …";
  byId("bars").replaceChildren();
  byId("facts").textContent = "";
  show("result", true);
  if (file.size > LIMIT) return fail("This file is larger than 16 MiB, which is the limit.");
  await introduced;
  if (mine !== current) return;
  const started = performance.now();
  const timer = setTimeout(() => mine.abort("slow"), SLOW_MS);
  try {
    const response = await fetch(`predictions${saysUnsure ? "?unsure=true" : ""}`, {
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
      offerExplanation(answer, file);
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

byId("why").addEventListener("click", () => (byId("because").hidden ? explain() : hideExplanation()));
byId("explained").addEventListener("change", explain);
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

const introduced = introduce();
