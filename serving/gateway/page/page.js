// The page: takes pictures, asks the backend about them, shows the answers.

import { classify, introduce, setKey } from "./backend.js";
import { listClasses } from "./classes.js";
import { isScaling, noteUpload, offerScaling } from "./connection.js";
import { prepare, thumbnail } from "./convert.js";
import { table } from "./csv.js";
import { byId, make, show } from "./dom.js";
import { listenForWhy, setExplanations } from "./explanation.js";
import { listenForWrong } from "./feedback.js";
import { addTiles, allPictures, clearTiles, hasTile, markOpened, renderSummary, renderTile } from "./gallery.js";
import { listenForPictures } from "./input.js";
import { fail, open, openedPicture, render, renderProgress, setClassCount } from "./large.js";
import { ANSWERED, CANCELLED, FAILED, Picture, SENDING, WAITING } from "./picture.js";
import { Queue } from "./queue.js";
import { offerSamples } from "./samples.js";
import { offerSnippets, requireKey } from "./snippets.js";
import { setFacts, setLinks, watchState } from "./status.js";
import { heading, setNames } from "./words.js";

const MAX_REQUESTS = 3;  // requests that wait for their answers; one server has few workers
const MAX_PICTURES = 1000;  // pictures that are taken at once
const KEY = /^[\x21-\x7e]+$/;  // what a header can carry
const THUMBNAIL = 240;  // pixels of a tile's short side

let classes = [];
let keyProblem = null;  // why the server asks for a key, while pictures wait for one

// Shows the classes of the model that is served; until they are known, the heading is a general one.
async function introduceModel() {
  try {
    const model = await introduce();
    classes = model.classes;
    setNames(model.names);
    setClassCount(classes.length);
    setExplanations(model.explanations);
    byId("title").textContent = heading(classes);
    document.title = `${heading(classes)} · ${model.name}`;
    listClasses(classes);
    setFacts(model);
    setLinks(model.links ?? []);
    offerSamples(model.samples ?? [], take, refuse);
    if (model.uploads) {
      offerScaling();
      offerSnippets();
    }
  } catch {
    // The page's foot shows a server that cannot be reached, and so does the error of each picture.
  }
}

function change(picture, values) {
  Object.assign(picture, values);
  render(picture);
  renderTile(picture);
  renderKeyProblem();
  const summary = renderSummary();
  // An opened picture is announced itself.
  if (!openedPicture() && !allPictures().some((each) => each.isPending)) byId("announcement").textContent = summary;
}

// Asks for the prediction of a picture. It never rejects: the picture keeps its error.
async function classifyPicture(picture, signal) {
  change(picture, { status: SENDING, fraction: 0, error: null });
  try {
    await introduced;
    const { blob, note } = await prepare(picture.file, isScaling());
    signal.throwIfAborted();
    Object.assign(picture, { sent: blob, note });
    const started = performance.now();
    const answer = await classify(blob, {
      signal,
      onSent(bytes, total) {
        noteUpload(bytes, performance.now() - started);
        picture.fraction = total ? bytes / total : 1;
        renderProgress(picture);
      },
    });
    change(picture, { status: ANSWERED, answer, milliseconds: performance.now() - started });
    setFacts(answer.model);
  } catch (error) {
    if (signal.aborted) change(picture, { status: CANCELLED });
    else if (error.status === 401) askForKey(picture, error);
    else change(picture, { status: FAILED, error });
    if (error.status === 0 || error.status >= 500) watchState(introduceAgain);
  }
  await addThumbnail(picture);
}

async function addThumbnail(picture) {
  if (picture.thumbnail || !hasTile(picture)) return;
  const address = await thumbnail(picture.file, THUMBNAIL);
  if (picture.thumbnail || !hasTile(picture)) return URL.revokeObjectURL(address);  // cleared in the meantime
  picture.thumbnail = address;
  renderTile(picture);
}

// The server asks for a key: pictures wait until one is entered, which this page forgets when it is closed.
function askForKey(picture, error) {
  queue.pause();
  keyProblem = error.message;
  change(picture, { status: WAITING });
  queue.addFirst(picture);
  requireKey();
  if (!byId("keyrow").hidden) return;  // another picture has asked for it
  show("keyrow", true);
  byId("key").focus();
  byId("key").select();
}

// A picture that waits for a key says so, also one that is opened or added later.
function renderKeyProblem() {
  if (keyProblem !== null && (openedPicture()?.isPending ?? true)) fail(keyProblem);
}

function leaveKeyProblem() {
  if (!openedPicture()) show("error", false);
  keyProblem = null;
  show("keyrow", false);
  queue.resume();
}

function useKey() {
  const key = byId("key").value.trim();
  if (!KEY.test(key)) return fail("This is not a key: a key has neither spaces nor accented letters.");
  setKey(key);
  leaveKeyProblem();
  byId("picture").focus({ preventScroll: true });  // the field that had the focus is gone
}

function take(files, leftOut = 0) {
  if (files.length > MAX_PICTURES) return refuse(`These are ${files.length} pictures; at most ${MAX_PICTURES} are taken at once.`);
  const pictures = files.map(({ file, name }) => new Picture(file, name));
  addTiles(pictures, openTile);
  if (pictures.length === 1) {
    openPicture(pictures[0]);
    queue.addFirst(pictures[0]);
    // Somebody who drops or pastes a picture may have scrolled down to the tiles.
    if (byId("stage").getBoundingClientRect().top < 0) byId("stage").scrollIntoView({ block: "start" });
    return;
  }
  openPicture(null);
  const others = leftOut ? ` ${leftOut} other ${leftOut === 1 ? "file was" : "files were"} left out.` : "";
  byId("leftout").textContent = others.trim();
  byId("announcement").textContent = `${pictures.length} pictures.${others} Looking …`;
  queue.add(pictures);
  byId("gallery").scrollIntoView({ block: "nearest" });
}

// Says why nothing was taken.
function refuse(sentence) {
  openPicture(null);
  fail(sentence);
}

function openPicture(picture) {
  open(picture);
  markOpened(picture);
  renderKeyProblem();
}

function openTile(picture) {
  openPicture(picture);
  byId("stage").scrollIntoView({ block: "start" });
  byId("picture").focus({ preventScroll: true });
}

function cancel(pictures) {
  for (const picture of queue.cancel(pictures)) change(picture, { status: CANCELLED });
  if (keyProblem !== null && !allPictures().some((picture) => picture.isPending)) leaveKeyProblem();
}

function tryAgain(pictures) {
  for (const picture of pictures) change(picture, { status: WAITING });
  queue.add(pictures);
}

function download() {
  const address = URL.createObjectURL(new Blob([table(allPictures(), classes)], { type: "text/csv" }));
  make("a", { href: address, download: "predictions.csv" }).click();
  URL.revokeObjectURL(address);
}

function introduceAgain() {
  if (!classes.length) introduced = introduceModel();
}

const queue = new Queue(classifyPicture, MAX_REQUESTS);

byId("keyform").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey();
});
byId("cancel").addEventListener("click", () => cancel([openedPicture()]));
byId("again").addEventListener("click", () => tryAgain([openedPicture()]));
byId("stop").addEventListener("click", () => cancel(allPictures().filter((picture) => picture.isPending)));
byId("retry").addEventListener("click", () => tryAgain(allPictures().filter((picture) => picture.canBeTriedAgain)));
byId("save").addEventListener("click", download);
byId("clear").addEventListener("click", () => {
  cancel(allPictures().filter((picture) => picture.isPending));
  openPicture(null);
  clearTiles();
  byId("leftout").textContent = "";
  byId("file").focus();
});

listenForWhy();
listenForWrong();
listenForPictures(take, refuse);
let introduced = introduceModel();
watchState(introduceAgain);
