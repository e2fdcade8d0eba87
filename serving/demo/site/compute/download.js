// Downloads of this folder's large files, with their progress.

// Returns the bytes of files, each {name, bytes}; `onProgress` is told how many bytes of how many are there.
export async function fetchWithProgress(files, onProgress) {
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  const stop = new AbortController();
  let loaded = 0;
  const advance = (bytes) => {
    loaded += bytes;
    if (!stop.signal.aborted) onProgress(loaded, total);
  };
  try {
    return await Promise.all(files.map((file) => fetchOne(file, advance, stop.signal)));
  } finally {
    stop.abort();  // where one failed, the others are of no use
  }
}

// Returns the response with a file of this folder; throws an error with the reason in words.
export async function fetchFile(name, signal = undefined) {
  const response = await fetch(new URL(`../${name}`, import.meta.url), { signal }).catch(() => { throw broken(name); });
  if (!response.ok) throw new Error(`the host answered ${response.status} to ${name}`);
  return response;
}

function broken(name) {
  return new Error(`the connection broke at ${name}`);
}

async function fetchOne({ name, bytes }, advance, signal) {
  const response = await fetchFile(name, signal);
  const content = new Uint8Array(bytes);
  let at = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read().catch(() => { throw broken(name); });
    if (done) break;
    if (at + value.length > bytes) throw new Error(`${name} is longer than it must be`);
    content.set(value, at);
    at += value.length;
    advance(value.length);
  }
  if (at < bytes) throw new Error(`${name} is cut off`);
  return content;
}
