// The button "Wrong?": the right label of an answer, given to a server that takes feedback.

import { feedbackTerms, giveFeedback } from "./backend.js";
import { byId, make, show } from "./dom.js";
import { shownAs } from "./words.js";

const FEW = 7;  // labels that have a button each

let rated = null;  // the picture that feedback would be about
let sending = false;

// Offers to correct the answer to a picture. A server that takes feedback gives a token with each answer.
export function offerFeedback(picture) {
  rated = picture?.answer?.feedback ? picture : null;
  say(rated?.thanks ?? "");
  show("right", false);
  show("wrong", rated !== null && !rated.thanks);
  show("feedback", rated !== null);
}

// What may be said, and whether the picture may be stored, the server knows.
async function askWhatIsRight() {
  const mine = rated;
  try {
    const { labels, pictures } = await feedbackTerms();
    if (mine !== rated) return;
    byId("labels").replaceChildren(...(labels.length > FEW ? choiceOf(labels) : buttonsOf(labels)));
    byId("store").checked = false;
    show("storing", pictures);
    byId("privacy").textContent = pictures
      ? "Your answer will be stored. The picture will be stored only if you tick the box, with the place and time that a "
      + "camera writes into it."
      : "Your answer will be stored. The picture will not.";
    show("wrong", false);
    show("right", true);
    say("");
    byId("labels").firstElementChild.focus();
  } catch (error) {
    if (mine === rated) say(error.message);
  }
}

function shownAsGiven(label, labels) {
  if (label !== "other") return shownAs(label);
  return labels.length === 3 ? "neither" : "something else";
}

function button(text, action) {
  const element = make("button", { type: "button", className: "button quiet", textContent: text });
  element.addEventListener("click", action);
  return element;
}

function buttonsOf(labels) {
  return labels.map((label) => button(shownAsGiven(label, labels), () => give(label)));
}

function choiceOf(labels) {
  const choice = make("select", {}, ...labels.map((label) => new Option(shownAsGiven(label, labels), label)));
  choice.setAttribute("aria-label", "What the picture shows");
  return [choice, button("Send", () => give(choice.value))];
}

function say(sentence) {
  byId("thanks").textContent = sentence;
}

async function give(label) {
  const mine = rated;
  if (sending) return;  // a second click
  sending = true;
  try {
    const blob = byId("store").checked ? mine.sent : null;
    const given = await giveFeedback({ token: mine.answer.feedback, label, blob });
    mine.thanks = `Thank you. Your answer is stored${given.picture ? ", with the picture" : ""}.`;
    if (mine !== rated) return;
    show("right", false);
    say(mine.thanks);
  } catch (error) {
    if (mine === rated) say(error.message);
  } finally {
    sending = false;
  }
}

export function listenForWrong() {
  byId("wrong").addEventListener("click", askWhatIsRight);
  byId("right").addEventListener("submit", (event) => event.preventDefault());
}
