/** The SavedModels `half_plus_two` and `multi_head` in JavaScript: those of the suite that take examples. */
import { type AnyTensor, type DType, ServingError, tensor } from "../../src/index.js";
import { type ExampleFeatures, type SignatureInit, servable } from "../../src/server/index.js";

const vector = <D extends DType>(dtype: D) => ({ dtype, shape: [null] });
const matrix = <D extends DType>(dtype: D, columns: number) => ({ dtype, shape: [null, columns] });

const overExamples = (method: "classify" | "regress", outputs: SignatureInit["outputs"]): SignatureInit => ({
  methodName: `tensorflow/serving/${method}`,
  inputs: { inputs: vector("string") },
  outputs,
});

const notTensors = (): never => {
  throw new ServingError("this signature takes examples here, not tensors", { code: "UNIMPLEMENTED" });
};

/** A float feature of an example, of fixed length. */
function floatFeature(example: ExampleFeatures, name: string, size: number): readonly number[] {
  const values = example[name];
  if (values === undefined) throw refused(`Feature: ${name} (data type: float) is required but could not be found.`);
  if (!values.every((value) => typeof value === "number")) throw refused(`Key: ${name}, Index: 0.  Data types don't match.`);
  if (values.length !== size) throw refused(`Key: ${name}, Index: 0.  Number of float values != expected.`);
  return values as readonly number[];
}

function refused(text: string): ServingError {
  return new ServingError(`Name: <unknown>, ${text}`, { code: "INVALID_ARGUMENT" });
}

const halve = (x: number, offset: number) => Math.fround(Math.fround(x * 0.5) + offset);

/** `y = x / 2 + 2`, and the same and more over examples. */
export const halfPlusTwo = servable({
  signatures: {
    serving_default: { inputs: { x: vector("float32") }, outputs: { y: vector("float32") } },
    classify_x_to_y: overExamples("classify", { scores: matrix("float32", 1) }),
    regress_x_to_y: overExamples("regress", { outputs: matrix("float32", 1) }),
    regress_x_to_y2: overExamples("regress", { outputs: matrix("float32", 1) }),
    regress_x2_to_y3: overExamples("regress", { outputs: matrix("float32", 1) }),
  },
  predict: ({ x }) => {
    const input = (x as AnyTensor | undefined)?.as("float32") ?? notTensors();
    return {
      y: tensor(
        "float32",
        input.shape,
        input.values.map((value) => halve(value, 2)),
      ),
    };
  },
  classify: (examples) => examples.map((example) => [{ label: "", score: halve(floatFeature(example, "x", 1)[0] ?? 0, 2) }]),
  regress: (examples, { signatureName }) => {
    const feature = signatureName === "regress_x2_to_y3" ? "x2" : "x";
    return examples.map((example) => halve(floatFeature(example, feature, 1)[0] ?? 0, signatureName === "regress_x_to_y" ? 2 : 3));
  },
});

/** The variables of multi_head. */
const classWeights = [
  [0.6544657945632935, 1.9507746696472168, -0.9491764307022095, 0.22229138016700745],
  [0.6848390698432922, -0.39413368701934814, -0.6048121452331543, 0.08838415890932083],
  [-0.2294568419456482, 0.44008055329322815, 0.5961436629295349, -0.29668164253234863],
];
const valueWeights = [-1.0233360528945923, -1.0405279397964478, 1.989410400390625, 1.2690316438674927];
const classNames = ["low", "mid", "high"];

const dot = (weights: readonly number[], row: readonly number[]) => weights.reduce((sum, weight, i) => sum + weight * (row[i] ?? 0), 0);

function softmax(row: readonly number[]): number[] {
  const powers = classWeights.map((weights) => Math.exp(dot(weights, row)));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

/** What multi_head computes with: the features age, pos and city, or their defaults. */
function featureRow(example: ExampleFeatures): number[] {
  const age = example["age"]?.[0] ?? 30n;
  if (typeof age !== "bigint") throw refused("Key: age, Index: 0.  Data types don't match.");
  const city = example["city"]?.[0] ?? Buffer.from("Bern");
  const known = ["Bern", "Oslo", "Rome"].indexOf(Buffer.from(city as Uint8Array).toString());
  return [Number(age) / 100, ...floatFeature(example, "pos", 2), (known + 1) / 10];
}

/** Two heads over one parser of examples, or over a matrix. */
export const multiHead = servable({
  signatures: {
    serving_default: {
      inputs: { dense: matrix("float32", 4) },
      outputs: { scores: matrix("float32", 3), value: matrix("float32", 1) },
    },
    classify: overExamples("classify", { classes: matrix("string", 3), scores: matrix("float32", 3) }),
    classify_classes_only: overExamples("classify", { classes: matrix("string", 3) }),
    classify_scores_only: overExamples("classify", { scores: matrix("float32", 3) }),
    regress: overExamples("regress", { outputs: matrix("float32", 1) }),
    regress_flat: overExamples("regress", { outputs: vector("float32") }),
  },
  predict: ({ dense }) => {
    const { shape, values } = (dense as AnyTensor | undefined)?.as("float32") ?? notTensors();
    const rows = Array.from({ length: shape[0] ?? 0 }, (_, row) => Array.from(values.subarray(4 * row, 4 * row + 4)));
    return {
      scores: tensor("float32", [rows.length, 3], rows.flatMap(softmax)),
      value: tensor(
        "float32",
        [rows.length, 1],
        rows.map((row) => dot(valueWeights, row)),
      ),
    };
  },
  classify: (examples, { signatureName }) =>
    examples.map((example) => {
      const scores = softmax(featureRow(example));
      return classNames.map((label, index) => ({
        label: signatureName === "classify_scores_only" ? "" : label,
        score: signatureName === "classify_classes_only" ? 0 : (scores[index] ?? 0),
      }));
    }),
  regress: (examples) => examples.map((example) => dot(valueWeights, featureRow(example))),
});
