// The large view: one picture, its prediction, and what can be done with it.

import { showAnswer, showLooking } from "./answer.js";
import { byId, show } from "./dom.js";
import { offerExplanation } from "./explanation.js";
import { offerFeedback } from "./feedback.js";
import { ANSWERED, CANCELLED, WAITING } from "./picture.js";

let opened = null;
let classCount = 0;

export function setClassCount(count) {
  classCount = count;
}

export function openedPicture() {
  return opened;
}

// Opens a picture, or closes the view where there is none.
export function open(picture) {
  opened = picture;
  document.body.classList.toggle("opened", picture !== null);
  byId("picture").classList.toggle("filled", picture !== null);
  hideAll();  // first, because a map that is taken away brings its picture back
  preview(picture);
  if (picture) render(picture);
}

export function render(picture) {
  if (picture !== opened) return;
  hideAll();
  if (picture.isPending) {
    showLooking();
    renderProgress(picture);
  } else if (picture.status === ANSWERED) {
    showAnswer(picture, classCount);
    offerExplanation(picture);
    offerFeedback(picture);
  } else fail(picture.status === CANCELLED ? "Cancelled." : picture.error.message, picture.canBeTriedAgain);
}

// How much of a picture has been sent; a bar is of use only while some of it has not.
export function renderProgress(picture) {
  if (picture !== opened) return;
  const size = (picture.sent ?? picture.file).size;
  const percent = Math.round(100 * picture.fraction);
  byId("upload").value = picture.fraction;
  const sent = picture.fraction < 1 ? `${percent} % of ${inWords(size)} sent` : "Sent. Waiting for the answer.";
  byId("amount").textContent = picture.status === WAITING ? "Waiting for its turn." : sent;
  show("sending", picture.isPending);
}

// Says what went wrong, with a button where trying again may help.
export function fail(sentence, canBeTriedAgain = false) {
  hideAll();
  byId("problem").textContent = sentence;
  show("again", canBeTriedAgain);
  show("error", true);
}

function hideAll() {
  for (const id of ["result", "sending", "error"]) show(id, false);
  offerExplanation(null);
  offerFeedback(null);
}

function inWords(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

function preview(picture) {
  const image = byId("preview");
  URL.revokeObjectURL(image.src);
  if (!picture) {
    image.removeAttribute("src");
    show("preview", false);
    show("empty", true);
    byId("empty").textContent = "Drop pictures or a folder here";
    return;
  }
  const named = picture.file.name ? `: ${picture.name}` : "";
  image.alt = `Your picture${named}`;
  image.onload = () => { show("preview", byId("map").hidden); show("empty", false); };
  // A browser may not know a format that the server can read, and the other way round.
  image.onerror = () => { show("preview", false); show("empty", true); byId("empty").textContent = "No preview"; };
  image.src = URL.createObjectURL(picture.file);
}
