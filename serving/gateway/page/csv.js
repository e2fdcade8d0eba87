// Predictions as CSV: file, label, probability, that of each class, error.

import { ANSWERED } from "./picture.js";

// Returns the text of a table with a row for each picture.
export function table(pictures, classes) {
  const rows = pictures.map((picture) => {
    const answer = picture.status === ANSWERED ? picture.answer : null;
    const error = answer ? "" : picture.error?.message ?? picture.status;
    const each = classes.map((label) => (answer && Object.hasOwn(answer.probabilities, label) ? answer.probabilities[label] : ""));
    return [picture.name, answer?.label ?? "", answer?.probability ?? "", ...each, error];
  });
  return [["file", "label", "probability", ...classes, "error"], ...rows]
    .map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

// A spreadsheet would compute a cell that begins as a formula does; an apostrophe makes it text.
function cell(value) {
  const text = typeof value === "string" && /^[=+\-@\t\r\n]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
