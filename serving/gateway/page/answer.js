// The prediction in words and bars.

import { byId, make, show } from "./dom.js";
import { percent, sentence, shownAs } from "./words.js";

export function showLooking() {
  byId("verdict").textContent = "Looking …";
  byId("bars").replaceChildren();
  byId("facts").textContent = "";
  show("result", true);
}

// Shows an answer of a model of `classCount` classes that took some milliseconds.
export function showAnswer(answer, milliseconds, classCount) {
  byId("verdict").textContent = sentence(answer);
  const rows = Object.entries(answer.probabilities).sort((a, b) => b[1] - a[1]);
  byId("bars").replaceChildren(...rows.flatMap(bar));
  const first = rows.length < classCount ? `The ${rows.length} most probable of ${classCount} classes. ` : "";
  byId("facts").textContent =
    `${first}Answered in ${Math.round(milliseconds)} ms by ${answer.model.name} ${answer.model.version}.`;
  show("result", true);
}

function bar([label, probability]) {
  const meter = make("meter", { value: probability });
  meter.setAttribute("aria-label", `${shownAs(label)} ${percent(probability)}`);
  return [
    make("dt", { textContent: shownAs(label) }),
    make("dd", {}, meter),
    make("dd", { className: "number", textContent: percent(probability) }),
  ];
}
