// Classify a picture: node classify.mjs PICTURE [URL]
// Needs Node 18 or newer. If the server requires a key, set CATSDOGS_KEY.
import {readFile} from "node:fs/promises";

const TIMEOUT_MS = 10_000;
const TRIES = 4;
const MAX_WAIT_S = 30;

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

// Returns the answer to a picture: label, probability, probabilities and model. Throws an error with a code, a stable
// name for programs, if the server refuses; and fetch's own error if no answer arrives in time.
export async function classify(picture, url, key) {
  const headers = {"Content-Type": "application/octet-stream"};
  if (key) headers.Authorization = `Bearer ${key}`;
  for (let attempt = 1; ; attempt++) {
    const response = await fetch(url, {method: "POST", headers, body: picture, signal: AbortSignal.timeout(TIMEOUT_MS)});
    if (response.ok) return response.json();
    if ((response.status !== 429 && response.status !== 503) || attempt === TRIES) {
      const isProblem = response.headers.get("Content-Type")?.startsWith("application/problem+json");
      const {code, detail} = isProblem ? await response.json() : {code: `http_${response.status}`, detail: response.statusText};
      throw Object.assign(new Error(`${code}: ${detail}`), {code, status: response.status});
    }
    await response.body?.cancel();
    const seconds = Number(response.headers.get("Retry-After") ?? 1);
    await pause(Number.isFinite(seconds) ? Math.min(seconds, MAX_WAIT_S) : 1);
  }
}

const [path, url = "http://127.0.0.1:8080/predictions/catsdogs"] = process.argv.slice(2);
const picture = await readFile(path);
try {
  const answer = await classify(picture, url, process.env.CATSDOGS_KEY);
  console.log(answer.label, answer.probability);
} catch (error) {
  console.error(error.status ? error.message : `no answer: ${error.cause ?? error}`);
  process.exitCode = 1;
}
