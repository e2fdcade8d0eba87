// From the bytes of a picture to the network's input, as handler/preprocess.py does it, with the browser's decoder.

import { readHeader } from "./header.js";
import { checkSize, corrupt, MAX_BYTES, noImage, tooManyBytes } from "./problem.js";
import { reductionOf, shrink } from "./shrink.js";

// Returns {pixels, width, height}: uint8 (size, size, 3), and the size of the picture upright.
export async function decode(blob, spec) {
  if (!blob.size) throw noImage();
  if (blob.size > MAX_BYTES) throw tooManyBytes();
  const header = readHeader(new Uint8Array(await blob.arrayBuffer()));
  checkSize(header);
  const bitmap = await bitmapOf(blob, header.format);
  try {
    const { width, height } = bitmap;
    const factor = header.format === "JPEG" ? reductionOf(width, height, spec.size) : 1;
    return { pixels: shrink(width, height, spec, factor, rowsOf(bitmap)), width, height };
  } finally {
    bitmap.close();
  }
}

// The numbers of the file as they are: no colour profile is applied. EXIF's orientation is.
async function bitmapOf(blob, format) {
  try {
    return await createImageBitmap(blob, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  } catch {
    throw corrupt(format);
  }
}

// Returns a function that gives rows of a bitmap as RGB; what is transparent lies on white.
function rowsOf(bitmap) {
  return (top, height) => {
    const { width } = bitmap;
    const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    context.imageSmoothingEnabled = false;
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, 0, top, width, height, 0, 0, width, height);
    const { data } = context.getImageData(0, 0, width, height);
    const rgb = new Uint8Array(width * height * 3);
    for (let from = 0, to = 0; to < rgb.length; from += 4, to += 3) {
      rgb[to] = data[from];
      rgb[to + 1] = data[from + 1];
      rgb[to + 2] = data[from + 2];
    }
    return rgb;
  };
}
