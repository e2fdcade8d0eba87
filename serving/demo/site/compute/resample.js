// Pillow's resampling with the triangle filter (Image.resize with BILINEAR), in whole numbers as Pillow computes it, so
// that the same pixels give the same input of the network as handler/preprocess.py.

const PRECISION = 22;  // bits after the point of a weight
const HALF = 2 ** (PRECISION - 1);

// Returns for each output pixel the first input pixel that it reads, and the weights of these pixels.
export function weightsOf(inputSize, start, end, outputSize) {
  const scale = (end - start) / outputSize;
  const support = Math.max(scale, 1);
  return Array.from({ length: outputSize }, (_, place) => {
    const center = start + (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const count = Math.min(inputSize, Math.trunc(center + support + 0.5)) - first;
    const raw = Array.from({ length: count }, (_, x) =>
      Math.max(0, 1 - Math.abs((x + first - center + 0.5) * (1 / support))));
    const sum = raw.reduce((total, weight) => total + weight, 0);
    return { first, weights: Int32Array.from(raw, (weight) => Math.trunc(0.5 + (weight / sum) * 2 ** PRECISION)) };
  });
}

// Scales the rows of an RGB picture: from `width` to `weights.length` pixels each.
export function scaleRows(pixels, width, height, weights) {
  const out = new Uint8Array(weights.length * height * 3);
  let to = 0;
  for (let y = 0; y < height; y += 1) {
    for (const { first, weights: row } of weights) {
      let at = (y * width + first) * 3;
      let [red, green, blue] = [HALF, HALF, HALF];
      for (let x = 0; x < row.length; x += 1, at += 3) {
        red += pixels[at] * row[x];
        green += pixels[at + 1] * row[x];
        blue += pixels[at + 2] * row[x];
      }
      out[to] = red >> PRECISION;
      out[to + 1] = green >> PRECISION;
      out[to + 2] = blue >> PRECISION;
      to += 3;
    }
  }
  return out;
}

// Scales the columns of an RGB picture: from its height to `weights.length` pixels each.
export function scaleColumns(pixels, width, weights) {
  const line = width * 3;
  const out = new Uint8Array(line * weights.length);
  const sums = new Int32Array(line);
  weights.forEach(({ first, weights: column }, y) => {
    sums.fill(HALF);
    for (let place = 0; place < column.length; place += 1) {
      const at = (first + place) * line;
      for (let x = 0; x < line; x += 1) sums[x] += pixels[at + x] * column[place];
    }
    for (let x = 0; x < line; x += 1) out[y * line + x] = sums[x] >> PRECISION;
  });
  return out;
}

// Pillow scales the columns first where that leaves less to do.
export function columnsFirst(width, height, size) {
  return height > size && height - size > 2 * (width - size);
}
