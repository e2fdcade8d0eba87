// Drawing an explanation's map, and saying where its strongest part is.

// The colours of handler/overlay.py.
const FOR = [230, 97, 0];
const AGAINST = [93, 58, 155];
const OPACITY = 0.65;
const LONGEST = 1024;

// Draws an image on a canvas, and the explanation of it over that.
export function drawMap(canvas, image, { picture, area, map }) {
  const scale = Math.min(1, LONGEST / Math.max(image.naturalWidth, image.naturalHeight));
  canvas.width = Math.max(1, Math.round(image.naturalWidth * scale));
  canvas.height = Math.max(1, Math.round(image.naturalHeight * scale));
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const [x, y] = [canvas.width / picture.width, canvas.height / picture.height];
  context.imageSmoothingQuality = "high";
  context.drawImage(colours(map), area.left * x, area.top * y, area.width * x, area.height * y);
}

function colours(map) {
  const small = document.createElement("canvas");
  small.width = map[0].length;
  small.height = map.length;
  const context = small.getContext("2d");
  const most = Math.max(...map.flat().map(Math.abs), 1e-9);
  const pixels = map.flat().flatMap((value) =>
    [...(value > 0 ? FOR : AGAINST), Math.round(255 * OPACITY * Math.abs(value) / most)]);
  context.putImageData(new ImageData(new Uint8ClampedArray(pixels), small.width, small.height), 0, 0);
  return small;
}

// Returns a sentence that says where the largest value of a map is.
export function strongest(map, name) {
  const values = map.flat();
  const most = Math.max(...values);
  if (most <= 0) return `Nothing in the picture speaks for ${name}.`;
  const at = values.indexOf(most);
  const third = (place, count, parts) => parts[Math.min(2, Math.floor((3 * (place + 0.5)) / count))];
  const row = third(Math.floor(at / map[0].length), map.length, ["top", "middle", "bottom"]);
  const column = third(at % map[0].length, map[0].length, ["left", "centre", "right"]);
  const where = row === "middle" && column === "centre" ? "in the centre" : `at the ${row} ${column}`;
  return `The strongest sign of ${name} is ${where}.`;
}
