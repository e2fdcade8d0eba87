// All pictures since the page was opened, as tiles; they are kept in memory alone.

import { byId, make, show } from "./dom.js";
import { ANSWERED, CANCELLED, FAILED } from "./picture.js";
import { percent, shownAs } from "./words.js";

const NAMED = 3;  // classes that the summary counts

const pictures = [];
const tiles = new Map();  // by picture

export function allPictures() {
  return pictures;
}

// Adds pictures; `open` is called with the one whose tile is pressed.
export function addTiles(added, open) {
  for (const picture of added) {
    const button = make("button", { type: "button", className: "tile" });
    button.addEventListener("click", () => open(picture));
    tiles.set(picture, button);
    byId("tiles").append(make("li", {}, button));
    pictures.push(picture);
    renderTile(picture);
  }
  renderSummary();
}

export function hasTile(picture) {
  return tiles.has(picture);
}

export function clearTiles() {
  for (const { thumbnail } of pictures) URL.revokeObjectURL(thumbnail);
  pictures.length = 0;
  tiles.clear();
  byId("tiles").replaceChildren();
  renderSummary();
}

export function renderTile(picture) {
  const tile = tiles.get(picture);
  if (!tile) return;
  tile.dataset.status = picture.status;
  tile.title = picture.name;
  const image = picture.thumbnail
    ? make("img", { src: picture.thumbnail, alt: "" })
    : make("span", { className: "blank" });
  const name = make("span", { className: picture.name.includes("/") ? "name path" : "name" }, make("bdi", { textContent: picture.name }));
  tile.replaceChildren(image, name, ...words(picture));
}

function words(picture) {
  if (picture.status === ANSWERED) {
    const { label, probability, unsure } = picture.answer;
    return [
      make("span", { className: "label", textContent: `${shownAs(label)}${unsure ? "?" : ""}` }),
      make("span", { className: "number", textContent: percent(probability) }),
    ];
  }
  const text = picture.status === FAILED ? picture.error.message : picture.status === CANCELLED ? "Cancelled." : "…";
  return [make("span", { className: "sentence", textContent: text })];
}

export function markOpened(picture) {
  for (const [each, tile] of tiles) {
    if (each === picture) tile.setAttribute("aria-current", "true");
    else tile.removeAttribute("aria-current");
  }
}

// Counts what is shown. A screen reader hears only the beginning and the end of many pictures.
export function renderSummary() {
  const pending = pictures.filter((picture) => picture.isPending).length;
  const text = pending ? `${pictures.length - pending} of ${pictures.length} pictures done` : counted();
  byId("summary").textContent = text;
  byId("progress").value = pictures.length ? 1 - pending / pictures.length : 0;
  show("progress", pending > 0 && pictures.length > 1);
  show("stop", pending > 0);
  show("retry", pending === 0 && pictures.some((picture) => picture.canBeTriedAgain));
  show("gallery", pictures.length > 1);
  return text;
}

function counted() {
  if (!pictures.length) return "";
  const counts = new Map();
  for (const { status, answer } of pictures) {
    if (status === ANSWERED) counts.set(answer.label, (counts.get(answer.label) ?? 0) + 1);
  }
  const ranked = [...counts].sort((a, b) => b[1] - a[1]);
  const parts = ranked.slice(0, NAMED).map(([label, count]) => `${shownAs(label)} ${count}`);
  const others = ranked.slice(NAMED).reduce((sum, [, count]) => sum + count, 0);
  if (others) parts.push(`other classes ${others}`);
  const rest = pictures.filter((picture) => picture.status !== ANSWERED).length;
  if (rest) parts.push(`no answer ${rest}`);
  return `${pictures.length} pictures: ${parts.join(", ")}`;
}
