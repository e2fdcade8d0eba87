// The released network on ONNX Runtime's WebAssembly: probabilities, and class activation maps.

import * as ort from "../onnxruntime/ort.wasm.bundle.min.js";
import { fetchWithProgress } from "./download.js";

// Returns the network of the release that model.json describes.
//   onProgress(loaded, total): bytes of the downloads
export async function loadNetwork(facts, onProgress) {
  const { network, runtime, head } = facts.files;
  const [model, wasm, weights] = await fetchWithProgress([network, runtime, ...(head ? [head] : [])], onProgress);
  // Threads need a header that static hosts do not send.
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = wasm.buffer;
  const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  return new Network(session, facts, weights && new Float32Array(weights.buffer));
}

class Network {
  constructor(session, facts, head) {
    Object.assign(this, { session, facts, head });
  }

  // Returns {logits, features}, of pixels, uint8 (size, size, 3). `features` are the last feature maps, or undefined.
  async run(pixels) {
    const { size } = this.facts.input;
    const out = await this.session.run({ image: new ort.Tensor("uint8", pixels, [1, size, size, 3]) });
    return { logits: out.logits.data, features: this.facts.head && out[this.facts.head.tensor] };
  }

  // Returns the class activation map of a class, and its bias (handler/class_maps.py).
  classMap({ data, dims }, index) {
    const { channels, channels_last: last } = this.facts.head;
    const [rows, columns] = last ? dims.slice(1, 3) : dims.slice(2, 4);
    const weights = this.head.subarray(index * channels, (index + 1) * channels);
    const at = last ? (place, channel) => place * channels + channel : (place, channel) => channel * rows * columns + place;
    const values = Array.from({ length: rows * columns }, (_, place) =>
      weights.reduce((sum, weight, channel) => sum + weight * data[at(place, channel)], 0));
    const map = Array.from({ length: rows }, (_, row) => values.slice(row * columns, (row + 1) * columns));
    return { map, bias: this.head[this.facts.classes.length * channels + index] };
  }
}

export function softmax(logits) {
  const most = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - most));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}
