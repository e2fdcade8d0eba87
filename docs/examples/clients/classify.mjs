// Classify a picture: node classify.mjs PICTURE [URL]
// Needs Node 18 or newer. If the server requires a key, set CATSDOGS_KEY.
import {realpathSync} from "node:fs";
import {readFile} from "node:fs/promises";
import {fileURLToPath} from "node:url";

const TIMEOUT_MS = 10_000;
const TRIES = 4;
const MAX_WAIT_S = 30;

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

// Returns the answer to a picture: label, probability, probabilities and model. Throws an error with a code, a stable
// name for programs, if the server refuses or something else answers; and fetch's own error if nothing does in time.
export async function classify(picture, url, key) {
  const headers = {"Content-Type": "application/octet-stream"};
  if (key) headers.Authorization = `Bearer ${key}`;
  for (let attempt = 1; ; attempt++) {
    const response = await fetch(url, {method: "POST", headers, body: picture, signal: AbortSignal.timeout(TIMEOUT_MS)});
    if (response.status === 200) return read(response, "label");
    if ((response.status !== 429 && response.status !== 503) || attempt === TRIES) {
      const isProblem = response.headers.get("Content-Type")?.startsWith("application/problem+json");
      const {code, detail} = isProblem ? await read(response, "code") : {code: `http_${response.status}`, detail: response.statusText};
      throw Object.assign(new Error(`${code}: ${detail}`), {code, status: response.status});
    }
    await response.body?.cancel();
    await pause(secondsToWait(response));
  }
}

// Returns the body, which must be JSON with this member.
async function read(response, member) {
  const text = await response.text();
  try {
    const value = JSON.parse(text);
    if (value[member] !== undefined) return value;
  } catch {
    // Told below.
  }
  throw Object.assign(new Error(`not an answer of this API: is ${response.url} right?`), {code: "not_this_api"});
}

// Returns what Retry-After says: seconds, or a date.
function secondsToWait(response) {
  const value = response.headers.get("Retry-After") ?? "1";
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? 1 : Math.max(0, Math.min(seconds, MAX_WAIT_S));
}

async function main([path, url = "http://127.0.0.1:8080/predictions/catsdogs"]) {
  if (!path) {
    console.error("usage: node classify.mjs PICTURE [URL]");
    return 2;
  }
  try {
    const answer = await classify(await readFile(path), url, process.env.CATSDOGS_KEY);
    console.log(answer.label, answer.probability);
    return 0;
  } catch (error) {
    console.error(typeof error.code === "string" ? error.message : `no answer: ${error.cause?.message || error.cause?.code || error}`);
    return 1;
  }
}

// Only as a program, so that another module can import classify.
const [, program, ...parameters] = process.argv;
if (program && realpathSync(program) === fileURLToPath(import.meta.url)) process.exitCode = await main(parameters);
