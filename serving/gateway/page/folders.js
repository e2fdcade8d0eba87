// The files of what was dropped, folders within folders too.

// Returns {files, hasFolder}; each of files is {file, name}, where the name has the folders that it lies in.
export async function filesOf(transfer) {
  // All at once, because the transfer is empty when this function has waited.
  const plain = [...transfer.files];
  const entries = [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.() ?? null);
  if (!entries.some((entry) => entry?.isDirectory)) {
    return { files: plain.map((file) => ({ file, name: file.name })), hasFolder: false };
  }
  const files = [];
  for (const entry of entries) if (entry) await collect(entry, files);
  return { files, hasFolder: true };
}

async function collect(entry, files) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject)).catch(() => null);
    if (file) files.push({ file, name: entry.fullPath.replace(/^\//, "") });
    return;
  }
  const reader = entry.createReader();
  // Each call returns at most a hundred, and none at the end.
  for (;;) {
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)).catch(() => []);
    if (!part.length) return;
    for (const child of part) await collect(child, files);
  }
}
