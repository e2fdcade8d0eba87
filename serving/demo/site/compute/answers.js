// Answers as the server's REST interface gives them.

import { boxOf } from "./shrink.js";
import { softmax } from "./network.js";

const rounded = (value) => Math.round(value * 1e6) / 1e6;

// Returns the answer to a picture (handler/predictor.py).
export function answerOf(logits, facts) {
  const probabilities = softmax(logits);
  if (!probabilities.every(Number.isFinite)) throw new Error("the network answered with a number that is none");
  const best = probabilities.indexOf(Math.max(...probabilities));
  const order = [...probabilities.keys()];
  if (facts.top) order.sort((a, b) => probabilities[b] - probabilities[a]).splice(facts.top);
  return {
    label: facts.classes[best],
    probability: rounded(probabilities[best]),
    probabilities: Object.fromEntries(order.map((index) => [facts.classes[index], rounded(probabilities[index])])),
    ...(facts.threshold === null ? {} : trust(probabilities[best], facts)),
    model: facts.model,
  };
}

// Returns what an answer says of its probability.
function trust(probability, { threshold, uncalibrated }) {
  return { unsure: probability < threshold, ...(uncalibrated.length ? { uncalibrated_if: uncalibrated } : {}) };
}

// Returns the explanation of a class (handler/explanation.py).
export function explanationOf(label, { map, bias }, { width, height }, prediction, facts) {
  const values = map.flat();
  const [left, top, right, bottom] = boxOf(width, height, facts.input.resize).map(Math.round);
  return {
    class: label,
    map: map.map((row) => row.map(rounded)),
    logit: rounded(values.reduce((sum, value) => sum + value, 0) / values.length + bias),
    bias: rounded(bias),
    picture: { width, height },
    area: { left, top, width: right - left, height: bottom - top },
    prediction,
  };
}
