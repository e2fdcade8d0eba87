// The page: takes a picture, asks the backend about it, shows the answer.

import { showAnswer, showLooking } from "./answer.js";
import { classify, introduce, setKey } from "./backend.js";
import { byId, make, show } from "./dom.js";
import { listenForWhy, offerExplanation } from "./explanation.js";
import { listenForWrong, offerFeedback } from "./feedback.js";
import { listenForPictures } from "./input.js";
import { preview } from "./preview.js";
import { heading, isMany, setNames, shownAs } from "./words.js";

let current = null;  // the picture that is asked about, as the controller of its request
let last = null;
let classCount = 0;

function fail(sentence) {
  for (const id of ["result", "explanation", "feedback"]) show(id, false);
  byId("error").textContent = sentence;
  show("error", true);
}

// The model that is served says what it tells apart; until it does, the page asks in general.
async function introduceModel() {
  try {
    const model = await introduce();
    setNames(model.names);
    classCount = model.classes.length;
    byId("title").textContent = heading(model.classes);
    document.title = `${heading(model.classes)} · ${model.name}`;
    listClasses(model.classes);
  } catch {
    // A server that cannot be reached is reported once a picture is sent.
  }
}

// A heading has no place for many classes; they can be read below it.
function listClasses(classes) {
  byId("classlist").replaceChildren(...classes.map((label) => make("li", { textContent: shownAs(label) })));
  byId("classcount").textContent = `The ${classes.length} classes`;
  show("classes", isMany(classes));
}

async function look(file) {
  current?.abort();
  const mine = current = new AbortController();
  last = file;
  preview(file);
  show("error", false);
  offerExplanation(null, file);
  offerFeedback(null, file);
  showLooking();
  await introduced;
  const started = performance.now();
  try {
    const answer = await classify(file, { signal: mine.signal });
    if (mine !== current) return;
    showAnswer(answer, performance.now() - started, classCount);
    offerExplanation(answer, file);
    offerFeedback(answer, file);
  } catch (error) {
    if (mine !== current) return;
    if (error.status === 401) askForKey();
    fail(error.message);
  }
}

// The server asks for a key: the picture waits until one is entered, which this page forgets when it is closed.
function askForKey() {
  show("keyrow", true);
  byId("key").focus();
}

function take(files) {
  if (files.length > 1) return fail("One picture at a time, please.");
  look(files[0]);
}

byId("keyform").addEventListener("submit", (event) => {
  event.preventDefault();
  setKey(byId("key").value);
  if (last) look(last);
});

listenForWhy();
listenForWrong();
listenForPictures(take, fail);
const introduced = introduceModel();
