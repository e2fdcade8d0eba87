// The sentences of a prediction, and the names of the classes in them.

const FEW = 4;  // classes that the heading names

let names = {};  // display names by label

export function setNames(displayNames) {
  names = displayNames;
}

// Folders, and so classes, are often named with underscores.
export function shownAs(label) {
  return (Object.hasOwn(names, label) ? names[label] : label).replaceAll("_", " ");
}

export function isMany(classes) {
  return classes.length > FEW;
}

export function heading(classes) {
  if (isMany(classes)) return `Which of ${classes.length} classes is it?`;
  const shown = classes.map(shownAs);
  const text = `${shown.slice(0, -1).join(", ")} or ${shown.at(-1)}?`;
  return text[0].toUpperCase() + text.slice(1);
}

export function sentence({ label, probability, probabilities, unsure }) {
  const name = shownAs(label);
  const article = /^[aeiou]/i.test(name) ? "an" : "a";
  const likely = Object.keys(probabilities).length > 2 ? "most likely" : "more likely";
  if (unsure) return `Not sure; ${likely} ${article} ${name}. It may be something else.`;
  if (probability >= 0.9) return `This is ${article} ${name}.`;
  if (probability >= 0.7) return `This is probably ${article} ${name}.`;
  return `Not sure; ${likely} ${article} ${name}.`;
}

// Returns where the probability of an answer is not to be relied on; empty where that is not known.
export function caution({ uncalibrated_if: conditions }) {
  if (!conditions?.length) return "";
  const last = conditions.at(-1);
  const list = conditions.length > 1 ? `${conditions.slice(0, -1).join(", ")} or ${last}` : last;
  return `Do not rely on the percentage if the picture is ${list}.`;
}

export function percent(probability) {
  return `${(100 * probability).toFixed(1)} %`;
}
