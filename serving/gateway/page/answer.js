// The prediction in words and bars.

import { byId, make, show } from "./dom.js";
import { caution, percent, sentence, shownAs } from "./words.js";

const MAX_CLASSES = 5;  // classes that are shown

export function showLooking() {
  byId("verdict").textContent = "Looking …";
  byId("bars").replaceChildren();
  byId("facts").textContent = "";
  byId("caution").textContent = "";
  show("result", true);
}

// Shows the answer to a picture of a model of `classCount` classes.
export function showAnswer({ answer, milliseconds, note }, classCount) {
  byId("verdict").textContent = sentence(answer);
  const rows = ranked(answer.probabilities).slice(0, MAX_CLASSES);
  byId("bars").replaceChildren(...rows.flatMap(bar));
  const first = rows.length < classCount ? `The ${rows.length} most probable of ${classCount} classes. ` : "";
  byId("facts").textContent =
    `${first}Answered in ${Math.round(milliseconds)} ms by ${answer.model.name} ${answer.model.version}. ${note}`.trim();
  byId("caution").textContent = caution(answer);
  show("result", true);
}

function ranked(probabilities) {
  return Object.entries(probabilities).sort((a, b) => b[1] - a[1]);
}

function bar([label, probability], place) {
  const meter = make("meter", { value: probability, className: place ? "less" : "" });
  meter.style.setProperty("--share", percent(probability).replace(" ", ""));
  meter.setAttribute("aria-label", `${shownAs(label)} ${percent(probability)}`);
  return [
    make("dt", { textContent: shownAs(label) }),
    make("dd", {}, meter),
    make("dd", { className: "number", textContent: percent(probability) }),
  ];
}
