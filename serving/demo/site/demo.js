// What this page has beside the server's: the progress of the model's download, and sample pictures.

import { load } from "./backend.js";

const MEGA = 1e6;
const line = document.getElementById("download");

function showProgress(loaded, total) {
  const text = `Loading the model: ${(loaded / MEGA).toFixed(0)} of ${(total / MEGA).toFixed(0)} MB`;
  if (line.textContent !== text) line.textContent = text;
}

// A sample is given to the page as if it had been chosen from a folder.
async function choose(event) {
  const image = event.currentTarget.firstElementChild;
  const blob = await (await fetch(image.src)).blob();
  const files = new DataTransfer();
  files.items.add(new File([blob], image.alt, { type: "image/jpeg" }));
  const input = document.getElementById("file");
  input.files = files.files;
  input.dispatchEvent(new Event("change"));
}

for (const button of document.querySelectorAll("#samples button")) button.addEventListener("click", choose);

load(showProgress).then(
  () => { line.textContent = "The model is loaded. Your pictures stay in this browser."; },
  (error) => { line.textContent = `${error.message} Reload the page to try again.`; },
);
