// Refusals, with the status and the code that the server gives them (docs/reference/rest.md).

export const MAX_BYTES = 16 * 2 ** 20;
const MAX_PIXELS = 50_000_000;
const MAX_SIDE = 65_535;
const SEND = "Choose a JPEG, PNG, WebP, GIF or BMP.";

// A refusal that goes through the boundary of a worker as a plain object.
export class Problem extends Error {
  constructor(status, code, message) {
    super(message);
    Object.assign(this, { status, code });
  }
}

export const noImage = () => new Problem(400, "no_image", `The file is empty. ${SEND}`);
export const tooManyBytes = () =>
  new Problem(413, "too_many_bytes", "This file is larger than 16 MiB, which is the limit.");
export const notRead = (name) =>
  new Problem(415, "unsupported_image", `${name ? `This is ${name}, which is not read here.` : "This is not a picture that can be read."} ${SEND}`);
export const brokenHeader = () => new Problem(
  415, "unsupported_image", `The picture's header is broken, or of a kind that is not read here. ${SEND}`);
export const corrupt = (format) => new Problem(422, "corrupt_image", `The ${format} picture is broken or cut off.`);

// Throws where a picture has more pixels than the server takes.
export function checkSize({ width, height }) {
  if (width * height > MAX_PIXELS || Math.max(width, height) > MAX_SIDE) {
    const limit = `${MAX_PIXELS}, and ${MAX_SIDE} for a side`;
    throw new Problem(
      413, "too_many_pixels", `The picture has ${width} x ${height} pixels; the limit is ${limit}.`);
  }
}
