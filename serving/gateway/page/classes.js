// All classes of a model that has more than its heading can name, with a search over them.

import { byId, make, show } from "./dom.js";
import { isMany, shownAs } from "./words.js";

export function listClasses(classes) {
  const items = classes.map((label) => make("li", { textContent: shownAs(label) }));
  byId("classlist").replaceChildren(...items);
  byId("classcount").textContent = `The ${classes.length} classes`;
  byId("classsearch").addEventListener("input", () => {
    const wanted = byId("classsearch").value.trim().toLowerCase();
    for (const item of items) item.hidden = !item.textContent.toLowerCase().includes(wanted);
    const left = items.filter((item) => !item.hidden).length;
    byId("classesfound").textContent = wanted ? `${left} of ${classes.length}` : "";
  });
  show("classes", isMany(classes));
}
