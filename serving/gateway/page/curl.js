// Writes a request as a curl command for a POSIX shell.
// Return a text as one word of the shell.
const quoted = (text) => /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

// JSON around a picture, whose base64 takes the place of %s, by the kind of body.
export const AROUND = {
  v1: '{"instances": [{"b64": "%s"}]}',
  v2: '{"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["%s"]}]}',
};

// Return the command of a request: its url, method, headers, body (a kind, and a file's name or a text), the variable
// that holds the key where one is sent, and the name of the file that takes an answer of bytes.
export function curlOf({url, sample, headers, kind, file, text, needsKey, output}) {
  const words = ["curl"];
  for (const [name, value] of Object.entries(headers)) words.push("-H", quoted(`${name}: ${value}`));
  if (needsKey) words.push("-H", '"Authorization: Bearer $CATSDOGS_KEY"');
  if (kind === "fields" || kind in AROUND) words.push("-H", quoted("Content-Type: application/json"));
  // -f: an error must not become the file.
  if (output) words.push("-f", "-o", output);
  let before = "";
  if (kind === "fields") words.push("--data-binary", quoted(text));
  if (kind === "picture" && file) words.push("--data-binary", quoted(`@${file}`));
  if (kind === "picture" && !file) {
    before = `curl -s ${quoted(sample)} | `;
    words.push("--data-binary", "@-");
  }
  if (kind in AROUND) {
    const encoded = file ? `base64 < ${quoted(file.startsWith("-") ? `./${file}` : file)}` : `curl -s ${quoted(sample)} | base64`;
    before = `printf '${AROUND[kind]}' "$(${encoded} | tr -d '\\n')" | `;
    words.push("--data-binary", "@-");
  }
  return `${before}${words.join(" ")} ${quoted(url)}`;
}
