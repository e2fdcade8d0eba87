// The rule of handler/preprocess.py, from the rows of a decoded picture to the network's input.

import { columnsFirst, scaleColumns, scaleRows, weightsOf } from "./resample.js";

const STRIP_PIXELS = 2 ** 20;  // handler/strips.py

// Returns left, top, right and bottom of the part of a picture that the network sees, in pixels.
export function boxOf(width, height, resize) {
  if (resize === "squeeze") return [0, 0, width, height];
  const side = Math.min(width, height);
  const [left, top] = [(width - side) / 2, (height - side) / 2];
  return [left, top, left + side, top + side];
}

// The server has a large JPEG decoded at 1/2, 1/4 or 1/8, which leaves at least twice the pixels that are needed.
export function reductionOf(width, height, size) {
  const scale = Math.min(Math.floor(width / (2 * size)), Math.floor(height / (2 * size)));
  return [8, 4, 2].find((factor) => scale >= factor) ?? 1;
}

// Returns the mean of each block of an RGB picture; blocks at the right and lower edge may be smaller.
export function reduce(pixels, width, height, factor) {
  if (factor === 1) return pixels;
  const [columns, rows] = [Math.ceil(width / factor), Math.ceil(height / factor)];
  const out = new Uint8Array(columns * rows * 3);
  for (let row = 0; row < rows; row += 1) {
    const bottom = Math.min(height, (row + 1) * factor);
    for (let column = 0; column < columns; column += 1) {
      const right = Math.min(width, (column + 1) * factor);
      let [red, green, blue] = [0, 0, 0];
      for (let y = row * factor; y < bottom; y += 1) {
        for (let x = column * factor; x < right; x += 1) {
          const at = (y * width + x) * 3;
          red += pixels[at];
          green += pixels[at + 1];
          blue += pixels[at + 2];
        }
      }
      const count = (bottom - row * factor) * (right - column * factor);
      out.set([red, green, blue].map((sum) => Math.floor((sum + count / 2) / count)), (row * columns + column) * 3);
    }
  }
  return out;
}

// Returns the network's input, uint8 (size, size, 3).
//   rowsOf(top, height): RGB pixels of these rows of the picture
//   factor: the reduction that comes first
export function shrink(width, height, { size, resize }, factor, rowsOf) {
  const [columns, rows] = [Math.ceil(width / factor), Math.ceil(height / factor)];
  const [left, top, right, bottom] = boxOf(columns, rows, resize);
  const across = weightsOf(columns, left, right, size);
  const down = weightsOf(rows, top, bottom, size);
  const stripRows = Math.max(1, Math.floor(STRIP_PIXELS / columns));
  if (stripRows >= rows && columnsFirst(columns, rows, size)) {
    const whole = reduce(rowsOf(0, height), width, height, factor);
    return scaleRows(scaleColumns(whole, columns, down), columns, size, across);
  }
  // By strips, so that a picture of 50 megapixels needs no second copy.
  const narrow = new Uint8Array(size * rows * 3);
  const step = Math.max(1, Math.floor(STRIP_PIXELS / width / factor)) * factor;
  for (let start = 0; start < height; start += step) {
    const count = Math.min(step, height - start);
    const strip = reduce(rowsOf(start, count), width, count, factor);
    narrow.set(scaleRows(strip, columns, Math.ceil(count / factor), across), (start / factor) * size * 3);
  }
  return scaleColumns(narrow, size, down);
}
