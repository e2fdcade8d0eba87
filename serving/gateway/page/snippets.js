// How a program asks the same: curl, Python, JavaScript, with the address of this page.

import { byId, make } from "./dom.js";

const LANGUAGES = { curl, Python: python, JavaScript: javascript };
// Stands where a key would. The key itself is never written here.
const PLACEHOLDER = "YOUR_KEY";

let chosen = "curl";
let withKey = false;

function curl(url) {
  const key = withKey ? ` \\\n  -H 'Authorization: Bearer ${PLACEHOLDER}'` : "";
  return `curl --data-binary @photo.jpg${key} \\\n  '${url.replaceAll("'", "%27")}'`;
}

function python(url) {
  const key = withKey ? `, "Authorization": "Bearer ${PLACEHOLDER}"` : "";
  return `import json
import urllib.request

with open("photo.jpg", "rb") as photo:
    headers = {"Content-Type": "application/octet-stream"${key}}
    request = urllib.request.Request(${JSON.stringify(url)}, photo.read(), headers)
with urllib.request.urlopen(request) as response:
    print(json.load(response))`;
}

function javascript(url) {
  const key = withKey ? `, Authorization: "Bearer ${PLACEHOLDER}"` : "";
  return `import { readFile } from "node:fs/promises";

const response = await fetch(${JSON.stringify(url)}, {
  method: "POST",
  headers: { "Content-Type": "application/octet-stream"${key} },
  body: await readFile("photo.jpg"),
});
console.log(await response.json());`;
}

// The server asks for a key, so programs need one as well.
export function requireKey() {
  withKey = true;
  write();
}

function write() {
  byId("snippet").textContent = LANGUAGES[chosen](new URL("predictions", document.baseURI).href);
}

function choose(language, tabs) {
  chosen = language;
  for (const tab of tabs) {
    const selected = tab.textContent === language;
    tab.setAttribute("aria-selected", String(selected));
    tab.tabIndex = selected ? 0 : -1;
    if (selected) byId("snippetpanel").setAttribute("aria-labelledby", tab.id);
  }
  write();
}

async function copy() {
  const code = byId("snippet");
  try {
    await navigator.clipboard.writeText(code.textContent);
    byId("copied").textContent = "Copied.";
  } catch {
    // Without TLS a page may not write to the clipboard; the reader copies what is selected.
    getSelection().selectAllChildren(code);
    byId("copied").textContent = "Selected: copy it by Ctrl+C.";
  }
}

export function offerSnippets() {
  const tabs = Object.keys(LANGUAGES).map((language) => {
    const tab = make("button", { type: "button", id: `tab-${language}`, textContent: language });
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", "snippetpanel");
    tab.addEventListener("click", () => { choose(language, tabs); byId("copied").textContent = ""; });
    return tab;
  });
  byId("languages").replaceChildren(...tabs);
  byId("languages").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
    next.focus();
    next.click();
  });
  byId("copy").addEventListener("click", copy);
  choose(chosen, tabs);
  byId("program").hidden = false;
}
