// What is done to a picture in the browser before it is sent: smaller pixels, and formats that servers cannot read.

const SCALED_SIDE = 1024;  // pixels of the long side of a scaled picture; networks read 128 to 384
const MAX_SIDE = 4096;  // pixels of the long side of a converted picture: iOS limits a canvas to 2 ** 24 pixels
const QUALITY = 0.9;
const MIN_BYTES = 200_000;  // smaller pictures are sent as they are

const HEIC_HELP = "This browser cannot read HEIC pictures. Save it as JPEG first: on an iPhone, Settings, Camera, Formats, "
  + "Most Compatible makes JPEG of new pictures; on a Mac, Preview exports JPEG.";

// Returns {blob, note}: what is to be sent, and a sentence about what was changed, or "".
export async function prepare(file, scaling) {
  const format = await unreadFormat(file);
  if (!format && !(scaling && file.size > MIN_BYTES)) return { blob: file, note: "" };
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    if (format === "HEIC") throw Object.assign(new Error(HEIC_HELP), { status: 415 });
    return { blob: file, note: "" };  // the server knows formats that a browser does not, and the other way round
  }
  const [width, height] = [bitmap.width, bitmap.height];
  const scale = Math.min(1, (scaling ? SCALED_SIDE : MAX_SIDE) / Math.max(width, height));
  if (!format && scale === 1) {
    bitmap.close();
    return { blob: file, note: "" };
  }
  const [newWidth, newHeight] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  const blob = await draw(bitmap, newWidth, newHeight, QUALITY);
  if (!format && blob.size >= file.size) return { blob: file, note: "" };
  const scaled = scale < 1 ? `Scaled from ${width} × ${height} to ${newWidth} × ${newHeight} pixels` : "";
  const done = scaled && format ? `${scaled} and converted from ${format}` : scaled || `Converted from ${format}`;
  return { blob, note: `${done} in your browser, so probabilities may differ a little.` };
}

// Returns the address of a small copy of a picture, or null where the browser cannot read it.
export async function thumbnail(file, longest) {
  try {
    const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    const scale = Math.min(1, longest / Math.min(bitmap.width, bitmap.height));
    const sides = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
    return URL.createObjectURL(await draw(bitmap, ...sides, 0.8));
  } catch {
    return null;
  }
}

// Draws a bitmap, and closes it. Transparency lies on white, as the server has it.
async function draw(bitmap, width, height, quality) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("no canvas"))), "image/jpeg", quality);
  });
}

// Returns the name of a format that browsers may read and the server does not, by the file's first bytes; else null.
async function unreadFormat(file) {
  const head = new Uint8Array(await file.slice(0, 32).arrayBuffer().catch(() => new ArrayBuffer(0)));
  const text = String.fromCharCode(...head);
  if (text.slice(4, 8) !== "ftyp") return null;
  if (/avi[fs]/.test(text.slice(8))) return "AVIF";
  return /hei[cxms]|hev[cxms]|mif1|msf1/.test(text.slice(8)) ? "HEIC" : null;
}
