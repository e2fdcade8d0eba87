// Pictures to try where somebody has none at hand.

import { byId, make, show } from "./dom.js";

// Shows samples, each {href, text}; `take` is called with the one that is pressed, as a list of {file, name}.
export function offerSamples(samples, take, refuse) {
  byId("samplelist").replaceChildren(...samples.map(({ href, text }) => {
    const button = make("button", { type: "button", className: "sample" }, make("img", { src: href, alt: `Sample: ${text}` }));
    button.addEventListener("click", async () => {
      try {
        const response = await fetch(href);
        if (!response.ok) throw new Error(`status ${response.status}`);
        const name = href.split("/").at(-1);
        take([{ file: new File([await response.blob()], name), name }]);
      } catch {
        refuse("The sample cannot be loaded: the server cannot be reached.");
      }
    });
    return make("li", {}, button);
  }));
  show("samples", samples.length > 0);
}
