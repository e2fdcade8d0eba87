// What this page has beside the server's: a line about the model's download.

import { load } from "./backend.js";
import { watchState } from "./status.js";

const line = document.getElementById("download");
const megabytes = (bytes) => (bytes / 1e6).toFixed(0);

function sentence({ loaded, total, isReady, problem }) {
  if (problem) return `${problem} The next picture tries again.`;
  if (isReady) return "The model is loaded. Your pictures stay in this browser.";
  if (loaded === total) return "Starting the model …";
  return `Loading the model: ${megabytes(loaded)} of ${megabytes(total)} MB`;
}

load((change) => {
  const text = sentence(change);
  if (line.textContent !== text) line.textContent = text;
  if (change.isReady || change.problem) watchState();  // the page's foot says so at once
});
