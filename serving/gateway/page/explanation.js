// The button "Why?": a map over the picture of what speaks for a class and what against it.

import { explain } from "./backend.js";
import { byId, show } from "./dom.js";
import { drawMap, strongest } from "./map.js";
import { shownAs } from "./words.js";

let asked = null;  // the answer that "Why?" is about: its labels and its picture as it was sent
let possible = true;

// Some models have no explanations.
export function setExplanations(offered) {
  possible = offered;
}

// Offers to explain an answered picture, or nothing where there is none. The picture is asked about again, and a map of it
// drawn over it, only where somebody wants to know.
export function offerExplanation(picture) {
  const answer = possible ? picture?.answer : null;
  asked = answer ? { labels: Object.keys(answer.probabilities), blob: picture.sent } : null;
  hide();
  byId("explained").replaceChildren(...(asked ? asked.labels : []).map((label) => new Option(shownAs(label), label)));
  byId("explained").value = answer?.label ?? "";
  show("explanation", asked !== null);
}

function hide() {
  show("because", false);
  show("others", false);
  byId("why").setAttribute("aria-expanded", "false");
  if (!byId("map").hidden) show("preview", true);
  show("map", false);
}

async function reveal() {
  const mine = asked;
  const label = byId("explained").value;
  byId("why").setAttribute("aria-expanded", "true");
  show("because", true);
  byId("reason").textContent = "Looking …";
  const outdated = () => mine !== asked || label !== byId("explained").value || byId("because").hidden;
  try {
    const explanation = await explain(mine.blob, label);
    if (outdated()) return;
    show("others", mine.labels.length > 1);
    byId("reason").textContent = drawn(explanation);
  } catch (error) {
    if (outdated()) return;
    show("others", false);
    byId("reason").textContent = error.message;
  }
}

// Draws the picture with the map over it, and returns a sentence that says the same.
function drawn(explanation) {
  const image = byId("preview");
  const canvas = byId("map");
  if (!image.naturalWidth) return "This browser cannot show the picture, so nothing can be marked in it.";
  drawMap(canvas, image, explanation);
  const name = shownAs(explanation.class);
  const sentence =
    `Orange parts speak for ${name}, violet parts against it. ${strongest(explanation.map, name)}`;
  canvas.setAttribute("aria-label", `${image.alt}. ${sentence}`);
  show("preview", false);
  show("map", true);
  return sentence;
}

export function listenForWhy() {
  byId("why").addEventListener("click", () => (byId("because").hidden ? reveal() : hide()));
  byId("explained").addEventListener("change", reveal);
}
