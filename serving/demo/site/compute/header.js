// The format and the size of a picture from its first bytes, before its pixels cost memory.

import { brokenHeader, notRead } from "./problem.js";

const READERS = [
  ["JPEG", [0xff, 0xd8, 0xff], sizeOfJpeg],
  ["PNG", [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a], (view) => [view.getUint32(16), view.getUint32(20)]],
  ["GIF", [0x47, 0x49, 0x46, 0x38], (view) => [view.getUint16(6, true), view.getUint16(8, true)]],
  ["WEBP", [0x52, 0x49, 0x46, 0x46], sizeOfWebp],
  ["BMP", [0x42, 0x4d], sizeOfBmp],
];
const OTHERS = [
  ["a TIFF", [0x49, 0x49, 0x2a, 0]],
  ["a TIFF", [0x4d, 0x4d, 0, 0x2a]],
  ["a PDF document", [0x25, 0x50, 0x44, 0x46, 0x2d]],
  ["a zip archive or an Office document", [0x50, 0x4b, 3, 4]],
];

// Returns {format, width, height}; throws a Problem where it is no picture that is read.
export function readHeader(bytes) {
  const starts = (magic) => magic.every((byte, at) => bytes[at] === byte);
  const reader = READERS.find(([, magic]) => starts(magic));
  if (!reader) throw notRead(OTHERS.find(([, magic]) => starts(magic))?.[0] ?? boxed(bytes));
  const [format, , sizeOf] = reader;
  try {
    const [width, height] = sizeOf(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    if (width > 0 && height > 0) return { format, width, height };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;  // the file ends within its header
  }
  throw brokenHeader();
}

function text(bytes, start, end) {
  return String.fromCharCode(...bytes.subarray(start, end));
}

// Phones' HEIC and AVIF lie in boxes of ISO's media files.
function boxed(bytes) {
  if (text(bytes, 4, 8) !== "ftyp") return null;
  const brand = text(bytes, 8, 12);
  if (brand.startsWith("avi")) return "AVIF";
  return /^(he|mif|msf)/.test(brand) ? "HEIC" : "an MP4 video";
}

function sizeOfJpeg(view) {
  for (let at = 2; ; ) {
    const marker = view.getUint8(at + 1);
    if (view.getUint8(at) !== 0xff || marker === 0xff) { at += 1; continue; }
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return [view.getUint16(at + 7), view.getUint16(at + 5)];
    if (marker === 0xda) throw new RangeError("pixels before their size");
    at += marker === 0 || marker === 1 || (marker >= 0xd0 && marker <= 0xd8) ? 2 : 2 + view.getUint16(at + 2);
  }
}

function sizeOfWebp(view) {
  const [kind, chunk] = [view.getUint32(8), view.getUint32(12)];
  if (kind !== 0x57454250) throw notRead("a video or a sound");
  if (chunk === 0x56503820) return [view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff];  // VP8
  const bits = view.getUint32(chunk === 0x5650384c ? 21 : 24, true);
  if (chunk === 0x5650384c) return [(bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1];  // VP8L
  return [(bits & 0xffffff) + 1, (view.getUint32(26, true) >>> 8) + 1];  // VP8X
}

function sizeOfBmp(view) {
  if (view.getUint32(14, true) === 12) return [view.getUint16(18, true), view.getUint16(20, true)];
  return [view.getInt32(18, true), Math.abs(view.getInt32(22, true))];
}
