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

async function fetchOne({ name, bytes }, advance, signal) {
  const response = await fetch(new URL(`../${name}`, import.meta.url), { signal });
  if (!response.ok) throw new Error(`the host answered ${response.status} to ${name}`);
  const content = new Uint8Array(bytes);
  let at = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    if (at + value.length > bytes) throw new Error(`${name} is longer than it must be`);
    content.set(value, at);
    at += value.length;
    advance(value.length);
  }
  if (at < bytes) throw new Error(`${name} is cut off`);
  return content;
}
