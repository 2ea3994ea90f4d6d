/** The two models of the demo as servables of the embedded server. */
import { readFileSync } from "node:fs";
import { servable } from "../src/server/index.js";
import { tensor } from "../src/tensor/tensor.js";

/** `y = x / 2 + 2`, element by element. */
export const halfPlusTwo = servable({
  signatures: {
    serving_default: { inputs: { x: { dtype: "float32", shape: [null] } }, outputs: { y: { dtype: "float32", shape: [null] } } },
  },
  predict({ x }) {
    const input = x.as("float32");
    return {
      y: tensor(
        "float32",
        input.shape,
        input.values.map((value) => value / 2 + 2),
      ),
    };
  },
});

interface LinearModel {
  /** Shape `[10, 64]`. */
  readonly coefficients: readonly (readonly number[])[];
  /** Shape `[10]`. */
  readonly intercepts: readonly number[];
}

/** A linear classifier of handwritten digits: `softmax(W x + b)` over 8x8 pixels in [0, 1]. */
export function createDigits() {
  const path = new URL("../test/fixtures/digits-linear/model.json", import.meta.url);
  const model = JSON.parse(readFileSync(path, "utf8")) as LinearModel;
  return servable({
    signatures: {
      serving_default: {
        inputs: { image: { dtype: "float32", shape: [null, 8, 8, 1] } },
        outputs: { class: { dtype: "int64", shape: [null] }, probabilities: { dtype: "float32", shape: [null, 10] } },
      },
    },
    predict({ image }) {
      const { values } = image.as("float32");
      const rows = values.length / 64;
      const probabilities = new Float32Array(rows * 10);
      const classes = new BigInt64Array(rows);
      for (let row = 0; row < rows; row++) {
        const scores = softmax(linear(model, values.subarray(row * 64, row * 64 + 64)));
        probabilities.set(scores, row * 10);
        classes[row] = BigInt(scores.indexOf(Math.max(...scores)));
      }
      return { class: tensor("int64", [rows], classes), probabilities: tensor("float32", [rows, 10], probabilities) };
    },
  });
}

function linear(model: LinearModel, pixels: Float32Array): number[] {
  return model.coefficients.map((weights, digit) =>
    weights.reduce((sum, weight, index) => sum + weight * (pixels[index] ?? 0), model.intercepts[digit] ?? 0),
  );
}

function softmax(scores: readonly number[]): number[] {
  const highest = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(score - highest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}
