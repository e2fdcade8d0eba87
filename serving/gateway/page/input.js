// Ways to give the page pictures: choose, photograph, paste, drop; files, and folders of them.

import { byId, show } from "./dom.js";
import { filesOf } from "./folders.js";

// Calls `take` with a list of {file, name}, and `refuse` with a sentence where there are none.
export function listenForPictures(take, refuse) {
  for (const id of ["file", "camera"]) {
    byId(id).addEventListener("change", (event) => {
      const files = [...event.target.files].map((file) => ({ file, name: file.name }));
      event.target.value = "";  // so that the same file can be chosen again
      if (files.length) take(files);
    });
  }
  listenForFolders(take, refuse);
  document.addEventListener("paste", (event) => {
    if (event.target.matches?.("input")) return;
    const files = [...event.clipboardData.files].map((file) => ({ file, name: file.name }));
    if (!files.length) return refuse("The clipboard holds no picture.");
    event.preventDefault();
    take(files);
  });
  listenForDrops(take, refuse);
}

function listenForFolders(take, refuse) {
  const input = byId("folder");
  const possible = "webkitdirectory" in input;
  for (const part of [input, byId("folderlabel")]) part.hidden = !possible;
  input.addEventListener("change", () => {
    const files = [...input.files].map((file) => ({ file, name: file.webkitRelativePath || file.name }));
    input.value = "";
    takeFolder(files, take, refuse);
  });
}

function takeFolder(files, take, refuse) {
  const pictures = files.filter(isPicture).sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  if (pictures.length) take(pictures, files.length - pictures.length);
  else refuse("There are no pictures in this folder.");
}

// A folder holds other files as well, which nobody asked about.
function isPicture({ file }) {
  return !file.name.startsWith(".") && (file.type.startsWith("image/") || /\.(heic|heif|tiff?|bmp)$/i.test(file.name));
}

function listenForDrops(take, refuse) {
  let depth = 0;
  document.addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; show("drop", true); });
  document.addEventListener("dragleave", () => { depth = Math.max(0, depth - 1); show("drop", depth > 0); });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    depth = 0;
    show("drop", false);
    const { files, hasFolder } = await filesOf(event.dataTransfer);
    if (hasFolder) takeFolder(files, take, refuse);
    else if (files.length) take(files);
    else refuse("That was not a file. Save the picture first, then choose it here.");
  });
}
