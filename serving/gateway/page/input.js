// Ways to give the page a picture: choose, photograph, paste, drop.

import { byId, show } from "./dom.js";

// Calls `take` with the files that somebody gives, and `refuse` with a sentence where there are none.
export function listenForPictures(take, refuse) {
  for (const id of ["file", "camera"]) {
    byId(id).addEventListener("change", (event) => {
      const files = [...event.target.files];
      event.target.value = "";  // so that the same file can be chosen again
      if (files.length) take(files);
    });
  }
  document.addEventListener("paste", (event) => {
    if (event.target.id === "key") return;
    const files = [...event.clipboardData.files];
    if (!files.length) return refuse("The clipboard holds no picture.");
    event.preventDefault();
    take(files);
  });
  listenForDrops(take, refuse);
}

function listenForDrops(take, refuse) {
  let depth = 0;
  document.addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; show("drop", true); });
  document.addEventListener("dragleave", () => { depth = Math.max(0, depth - 1); show("drop", depth > 0); });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    show("drop", false);
    const files = [...event.dataTransfer.files];
    if (files.length) take(files);
    else refuse("That was not a file. Save the picture first, then choose it here.");
  });
}
