// Asks a server by HTTP/2 with one picture in four bad, until standard input ends or COUNT requests are done. Opens a
// new session where the server has said that the old one ends, as any client of Node's http2 must.
import http2 from "node:http2";
import fs from "node:fs";

const [url, picture, countText, threads, authority] = process.argv.slice(2);
const good = fs.readFileSync(picture), bad = Buffer.from("no picture"), count = Number(countText);
const {origin, pathname} = new URL(url);
let session = null, ended = false, next = 0, right = 0, lost = 0;

function connected() {
  if (session && !session.closed && !session.destroyed) return session;
  const made = http2.connect(origin, authority ? {ca: fs.readFileSync(authority)} : {});
  made.on("error", () => {});
  made.on("goaway", () => { if (session === made) session = null; });
  session = made;
  return made;
}

function ask(body) {
  return new Promise((resolve, reject) => {
    const stream = connected().request({":method": "POST", ":path": pathname, "content-length": body.length});
    let status = 0;
    stream.setTimeout(30000, () => stream.close());
    stream.on("response", (headers) => { status = headers[":status"]; });
    stream.on("error", (error) => {
      // Never processed, says the server: to be sent again, which Node leaves to its users (RFC 9113, 8.7).
      if (stream.rstCode === http2.constants.NGHTTP2_REFUSED_STREAM) resolve(ask(body));
      else reject(error);
    });
    stream.on("data", () => {});
    stream.on("close", () => status ? resolve(status) : reject(new Error(`closed, ${stream.rstCode}`)));
    stream.end(body);
  });
}

async function work() {
  for (;;) {
    const number = next++;
    if (count ? number >= count : ended) return;
    const isBad = number % 4 === 3;
    try {
      const status = await ask(isBad ? bad : good);
      if (status === (isBad ? 415 : 200)) right++;
      else { lost++; console.error(`status ${status}`); }
    } catch (error) { lost++; console.error(String(error)); }
  }
}

if (!count) process.stdin.resume().on("end", () => { ended = true; });
await Promise.all(Array.from({length: Number(threads)}, work));
console.log(JSON.stringify({right, lost}));
process.exit(0);
