// The picture in the large view.

import { byId, show } from "./dom.js";

export function preview(file) {
  const image = byId("preview");
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(file);
  image.alt = file.name ? `Your picture: ${file.name}` : "Your picture";
  image.onload = () => { show("preview", true); show("empty", false); };
  // A browser may not know a format that the server can read, and the other way round.
  image.onerror = () => { show("preview", false); show("empty", true); byId("empty").textContent = "No preview"; };
  byId("picture").classList.add("filled");
}
