// A client typed by openapi-typescript, as a user writes one: classifies a picture, and tells a refusal by its code.
// Run by test_typescript.py: node client.js URL PICTURE
import createClient from "openapi-fetch";
import { readFile } from "node:fs/promises";
import type { components, paths } from "./api.js";

const [url, picture] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl: url });

// The types call bytes a string; what is sent are the bytes.
const send = (bytes: Uint8Array) =>
  client.POST("/predictions/catsdogs", {
    body: "",
    bodySerializer: () => bytes,
    headers: { "Content-Type": "application/octet-stream" },
    params: { query: { top_k: 1 }, header: { "X-Request-Id": "typescript-1" } },
  });

const { data: answer } = await send(await readFile(picture));
const label: components["schemas"]["Label"] | undefined = answer?.label;

const { error: problem } = await send(new TextEncoder().encode("no picture"));
const code: components["schemas"]["Code"] | undefined = problem?.code;

const { data: kserve } = await client.POST("/v2/models/catsdogs/infer", {
  body: {
    inputs: [
      { name: "image", datatype: "BYTES", shape: [1], data: [(await readFile(picture)).toString("base64")] },
    ],
  },
});
const outputs: components["schemas"]["V2Output"][] | undefined = kserve?.outputs;

const { data: ready } = await client.GET("/readyz");

console.log(JSON.stringify({ label, code, outputs: outputs?.map((output) => output.data[0]), ready: ready?.ready }));
