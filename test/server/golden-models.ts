/** Servables that stand for the recorded SavedModels: signatures from their files, JavaScript in place of the graphs. */
import { readFileSync } from "node:fs";
import { ServingError } from "../../src/errors.js";
import { mapRecord, signatureFromProto } from "../../src/messages.js";
import { readMetaGraphs } from "../../src/saved-model/meta-graph.js";
import type { ModelMap, Servable } from "../../src/server/index.js";
import type { Signature, TensorSpec } from "../../src/signature.js";
import { bfloat16FromNumber, float16FromNumber, numberFromBfloat16, numberFromFloat16 } from "../../src/tensor/float16.js";
import { type AnyTensor, type TensorLike, tensor } from "../../src/tensor/tensor.js";
import type { TensorMap } from "../../src/transport/transport.js";
import { parseFeature } from "./parse-example.js";

type Predict = (inputs: Readonly<Record<string, AnyTensor | undefined>>, signatureName: string, signal: AbortSignal) => Outputs;
type Outputs = Readonly<Record<string, TensorLike>> | Promise<Readonly<Record<string, TensorLike>>>;

const models = new URL("../fixtures/saved_models/", import.meta.url);

/** The signatures in a `saved_model.pb`, with the names of their tensors. */
function savedSignatures(folder: string): Record<string, Signature> {
  const [metaGraph] = readMetaGraphs(readFileSync(new URL(`${folder}/saved_model.pb`, models)));
  return mapRecord(metaGraph?.signatures ?? {}, (proto) => {
    const named = (specs: Readonly<Record<string, TensorSpec>>, infos: Readonly<Record<string, { name?: string | undefined }>>) =>
      mapRecord(specs, (spec, name): TensorSpec => ({ ...spec, tensorName: infos[name]?.name ?? "" }));
    const signature = signatureFromProto(proto);
    return { ...signature, inputs: named(signature.inputs, proto.inputs), outputs: named(signature.outputs, proto.outputs) };
  });
}

/** A model whose arithmetic is given; without it, one that can be asked for everything but that. */
function model(folder: string, compute: Predict = () => refuse("UNIMPLEMENTED", `${folder} has no graph here`)): Servable {
  return {
    signatures: savedSignatures(folder),
    predict: (inputs: TensorMap, { signatureName, signal }) => {
      // What TensorFlow says of a signature that only initialises.
      if (signatureName === "__saved_model_init_op") {
        refuse("OUT_OF_RANGE", "Node 'NoOp' (type: 'NoOp', num of outputs: 0) does not have output 0");
      }
      return compute(inputs, signatureName, signal);
    },
  };
}

function refuse(code: "INVALID_ARGUMENT" | "OUT_OF_RANGE" | "UNIMPLEMENTED", text: string): never {
  throw new ServingError(text, { code });
}

// Arithmetic

/** Processors of the real server are told to take subnormal numbers for zero. */
function flushed(value: number): number {
  return Math.abs(value) < 2 ** -126 ? value * 0 : Math.fround(value);
}

function elementwise(input: AnyTensor | undefined, compute: (value: number) => number): AnyTensor {
  const x = (input as AnyTensor).as("float32");
  const values = x.values.map((value: number) => flushed(compute(flushed(value))));
  return tensor("float32", x.shape, values);
}

function rowsOf(input: AnyTensor | undefined): number[][] {
  const { shape, values } = (input as AnyTensor).as("float32");
  const [rows = 0, width = 0] = shape;
  return Array.from({ length: rows }, (_, row) => Array.from(values.subarray(row * width, (row + 1) * width)));
}

function timesMatrix(rows: readonly (readonly number[])[], matrix: readonly (readonly number[])[]): number[][] {
  const [width, height] = [rows[0]?.length ?? matrix.length, matrix.length];
  const [shape, other] = [`[${rows.length},${width}]`, `[${height},${matrix[0]?.length}]`];
  if (width !== height) refuse("INVALID_ARGUMENT", `Matrix size-incompatible: In[0]: ${shape}, In[1]: ${other}`);
  return rows.map((row) => (matrix[0] ?? []).map((_, column) => row.reduce((sum, x, i) => sum + x * (matrix[i]?.[column] ?? 0), 0)));
}

function softmax(logits: readonly number[]): number[] {
  const powers = logits.map((logit) => Math.exp(logit - Math.max(...logits)));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

function floats(shape: readonly number[], values: readonly number[]): AnyTensor {
  return tensor("float32", shape, values);
}

function strings(shape: readonly number[], values: readonly (string | Uint8Array)[]): AnyTensor {
  return tensor("string", shape, values as string[]);
}

/** Floats at the start of a checkpoint's data file, which holds the variables by the order of their names. */
function savedFloats(folder: string, count: number): number[] {
  const bytes = readFileSync(new URL(`${folder}/variables/variables.data-00000-of-00001`, models));
  return Array.from({ length: count }, (_, index) => bytes.readFloatLE(4 * index));
}

function inRows(values: readonly number[], width: number): number[][] {
  return Array.from({ length: values.length / width }, (_, row) => values.slice(row * width, (row + 1) * width));
}

// half_plus_two, multi_version

/** `y = x / 2 + 2`, and the same and more on the features x and x2 of serialized examples. */
export const halfPlusTwo: Servable = model("half_plus_two/00000123", ({ x, inputs }, signatureName) => {
  if (x !== undefined) return { y: elementwise(x, (value) => value / 2 + 2) };
  const bias = signatureName.endsWith("_x_to_y") ? 2 : 3;
  const feature = parseFeature(inputs, { name: signatureName.includes("_x2_") ? "x2" : "x", kind: "float", size: 1 });
  const y = feature.map(([value]) => Math.fround(Math.fround(Number(value) * 0.5) + bias));
  return { [signatureName.startsWith("classify") ? "scores" : "outputs"]: floats([y.length, 1], y) };
});

const multiVersion = (version: number) =>
  model(`multi_version/${version}`, ({ x }) => ({ y: elementwise(x, (value) => Math.fround(version * value) + version) }));

// dtype_zoo

const dtypeZoo = model("dtype_zoo/1", ({ x, parts, separator, foo_bytes: bytes }, signatureName) => {
  if (parts !== undefined) {
    const [between] = (separator as AnyTensor).as("string").values;
    const joined = parts.as("string").values.flatMap((part, index) => {
      const own = separator?.shape.length === 0 ? between : (separator as AnyTensor).as("string").values[index];
      return [part, own ?? new Uint8Array(0)];
    });
    return { joined: strings([], [Buffer.concat(joined)]), count: tensor("int32", [], [parts.size]) };
  }
  if (bytes !== undefined) {
    const { shape, values } = bytes.as("string");
    return {
      bar_bytes: strings(
        shape,
        values.map((value) => Buffer.concat([Uint8Array.of(0, 0xff), value])),
      ),
      plain: strings(
        shape,
        values.map(({ length }) => String(length)),
      ),
    };
  }
  return zooOutputs(x as AnyTensor, signatureName);
});

function zooOutputs(x: AnyTensor, signatureName: string): Record<string, AnyTensor> {
  switch (signatureName) {
    case "scalar":
      // The graph has its rank from the signature.
      return { y: elementwise(x, (value) => value * 2), rank: tensor("int32", [], [0]) };
    case "unknown_rank":
      return {
        negative: elementwise(x, (value) => -value),
        shape: tensor("int64", [x.shape.length], x.shape.map(BigInt)),
        flat: floats([x.size], Array.from(x.as("float32").values)),
      };
    case "empty":
      return rowSums(x);
    case "bool":
      return {
        identity: x,
        not: tensor(
          "bool",
          x.shape,
          x.as("bool").values.map((value) => 1 - value),
        ),
      };
    case "string": {
      const { shape, values } = x.as("string");
      const exclaimed = values.map((value) => Buffer.concat([value, Buffer.from("!")]));
      const lengths = values.map(({ length }) => length);
      return { identity: x, exclaimed: strings(shape, exclaimed), length: tensor("int32", shape, lengths) };
    }
    default:
      return x.dtype.startsWith("q") ? { identity: x } : { identity: x, sum: doubled(x) };
  }
}

function rowSums(x: AnyTensor): Record<string, AnyTensor> {
  const [rows = 0, width] = x.shape;
  if (width === undefined) refuse("INVALID_ARGUMENT", `Invalid reduction dimension (1 for input with ${x.shape.length} dimension(s)`);
  const values = Array.from(x.as("float32").values);
  const sum = (from: number, to: number) => values.slice(from, to).reduce((a, b) => a + b, 0);
  return {
    none: floats([0, 3], []),
    sum: floats(
      [rows],
      Array.from({ length: rows }, (_, row) => sum(row * width, (row + 1) * width)),
    ),
    total: floats([], [sum(0, values.length)]),
  };
}

/** `x + x`; integers wrap as their arrays do. */
function doubled(x: AnyTensor): AnyTensor {
  const values = (x.values as Float32Array).slice();
  const compute = sums[x.dtype] ?? ((value: number) => value + value);
  for (const [index, value] of values.entries()) values[index] = compute(value);
  if (x.dtype === "complex64" || x.dtype === "complex128") {
    // TensorFlow multiplies by 2 + 0i, so infinity in one part makes both NaN.
    for (const [index, value] of values.entries()) if (!Number.isFinite(x.values[index ^ 1])) values[index] = value * Number.NaN;
  }
  return tensor(x.dtype, x.shape, values as never) as AnyTensor;
}

/** Sums of floats, of 16 bits as the bits of the array. */
const sums: Partial<Record<string, (value: number) => number>> = {
  float16: (bits) => float16FromNumber(2 * numberFromFloat16(bits)),
  bfloat16: (bits) => bfloat16FromNumber(2 * flushed(numberFromBfloat16(bits))),
  float32: (value) => 2 * flushed(value),
  complex64: (value) => 2 * flushed(value),
  float64: (value) => (Math.abs(value) < 2 ** -1022 ? value * 0 : 2 * value),
};

// multi_io, signature_defaults, large_output

const multiIo = model("multi_io/1", ({ features, ids, names, negate }) => {
  const numbers = (ids as AnyTensor).as("int64");
  const labels = (names as AnyTensor).as("string");
  if (numbers.shape.join() !== labels.shape.join()) {
    refuse("INVALID_ARGUMENT", `Input shapes do not match: [${labels.shape}] vs. [${numbers.shape}]`);
  }
  const signs = (negate as AnyTensor).as("bool").values;
  const rows = rowsOf(features);
  const totals = rows.map((row, index) => {
    const total = row.reduce((sum, value) => Math.fround(sum + value), 0);
    return signs[index % signs.length] === 1 ? -total : total;
  });
  const all = rows.flat();
  return {
    zeta: floats([rows.length], totals),
    alpha_ids: tensor(
      "int64",
      numbers.shape,
      numbers.values.map((id) => id * 2n + 1n),
    ),
    mid_labels: strings(
      labels.shape,
      labels.values.map((label, index) => Buffer.concat([label, Buffer.from(`#${numbers.values[index]}`)])),
    ),
    big: tensor(
      "bool",
      [rows.length],
      totals.map((total) => total > 1),
    ),
    beta_mean: tensor("float64", [], [all.reduce((sum, value) => sum + value, 0) / all.length]),
  };
});

const signatureDefaults = model("signature_defaults/1", ({ x, scale, offset }) => {
  const [factor = 0] = (scale as AnyTensor).as("float32").values;
  const shift = (offset as AnyTensor).as("float32").values;
  const { shape, values } = (x as AnyTensor).as("float32");
  return {
    y: floats(
      shape,
      Array.from(values, (value, index) => Math.fround(value * factor) + (shift[index % shift.length] ?? 0)),
    ),
  };
});

const largeOutput = model("large_output/1", ({ x, seed }) => {
  if (x !== undefined) return { y: x };
  const [start = 0] = (seed as AnyTensor).as("float32").values;
  const matrix = new Float32Array(256 * 1024);
  for (let i = 0; i < 256; i++) {
    const sine = Math.sin(Math.fround(Math.fround(i * Math.fround(0.01)) + start));
    for (let j = 0; j < 1024; j++) matrix[i * 1024 + j] = sine * j;
  }
  return { matrix: tensor("float32", [256, 1024], matrix) };
});

// vocabulary

const words = readFileSync(new URL("vocabulary/1/assets/vocab.txt", models), "utf8").trimEnd().split("\n");
const wordWeights: Readonly<Record<string, number>> = { the: 0.1, a: 0.2, cat: 0.9 };

const vocabulary = model("vocabulary/1", ({ tokens, ids }) => {
  if (ids !== undefined) {
    const known = Array.from(ids.as("int64").values, (id) => words[Number(id)] ?? "[UNK]");
    return { tokens: strings(ids.shape, known), size: tensor("int64", [], [BigInt(words.length)]) };
  }
  const { shape, values } = (tokens as AnyTensor).as("string");
  const texts = values.map((bytes) => Buffer.from(bytes).toString());
  return {
    ids: tensor(
      "int64",
      shape,
      texts.map((text) => BigInt(words.indexOf(text))),
    ),
    weights: floats(
      shape,
      texts.map((text) => wordWeights[text] ?? 0.5),
    ),
  };
});

// slow

const loopWeights = inRows(savedFloats("slow/1", 48 * 48), 48);

/** Multiplies matrices for as long as it is told, giving way to other calls. */
const slow = model("slow/1", async ({ x, iterations }, _signatureName, signal) => {
  const [steps = 0] = (iterations as AnyTensor).as("int32").values;
  let acc = loopWeights.map((row, i) => row.map((_, j) => Number(i === j)));
  for (let step = 0; step < steps; step++) {
    if (step % 20 === 19) await new Promise((resolve) => setImmediate(resolve));
    signal.throwIfAborted();
    acc = timesMatrix(acc, loopWeights).map((row) => row.map((value) => Math.fround(Math.tanh(Math.fround(value) + 0.01))));
  }
  const checksum = acc.flat().reduce((sum, value) => sum + value, 0);
  return { y: elementwise(x, (value) => 2 * value), checksum: floats([], [checksum]), steps: tensor("int32", [], [steps]) };
});

// multi_head

const multiHeadVariables = savedFloats("multi_head/1", 16);
const multiHeadWeights = inRows(multiHeadVariables.slice(0, 12), 3);
const multiHeadRegression = inRows(multiHeadVariables.slice(12), 1);

/** Two heads on the features age, pos and city of serialized examples, or on those four numbers. */
const multiHead = model("multi_head/1", ({ dense, inputs }, signatureName) => {
  const rows = dense === undefined ? multiHeadFeatures(inputs) : rowsOf(dense);
  const scores = floats([rows.length, 3], timesMatrix(rows, multiHeadWeights).flatMap(softmax));
  const values = timesMatrix(rows, multiHeadRegression).flat();
  if (dense !== undefined) return { scores, value: floats([rows.length, 1], values) };
  if (signatureName === "regress_flat") return { outputs: floats([rows.length], values) };
  if (signatureName === "regress") return { outputs: floats([rows.length, 1], values) };
  const classes = strings(
    [rows.length, 3],
    rows.flatMap(() => ["low", "mid", "high"]),
  );
  return {
    ...(signatureName === "classify_classes_only" ? {} : { scores }),
    ...(signatureName === "classify_scores_only" ? {} : { classes }),
  };
});

function multiHeadFeatures(inputs: AnyTensor | undefined): number[][] {
  const age = parseFeature(inputs, { name: "age", kind: "int64", size: 1, default: 30n });
  const city = parseFeature(inputs, { name: "city", kind: "bytes", size: 1, default: Buffer.from("Bern") });
  const pos = parseFeature(inputs, { name: "pos", kind: "float", size: 2 });
  return pos.map((xy, row) => {
    const known = ["Bern", "Oslo", "Rome"].indexOf(Buffer.from(city[row]?.[0] as Uint8Array).toString());
    return [Number(age[row]?.[0]) / 100, ...xy.map(Number), (known + 1) / 10];
  });
}

// tf1_saver

const [, ...tf1Variables] = savedFloats("tf1_saver/1", 16);
const tf1Bias = tf1Variables.slice(0, 3);
const tf1Kernel = inRows(tf1Variables.slice(3), 3);
let tf1Counter = 0;

/** A linear layer with colours for classes, and a counter. */
const tf1Saver = model("tf1_saver/1", ({ x, scale, inputs, delta }, signatureName) => {
  if (delta !== undefined) {
    tf1Counter += delta.as("float32").values[0] ?? 0;
    return { counter: floats([], [tf1Counter]) };
  }
  const [factor = 1] = scale?.as("float32").values ?? [];
  const features = inputs === undefined ? [] : parseFeature(inputs, { name: "x", kind: "float", size: 4 });
  const shifts = inputs === undefined ? [] : parseFeature(inputs, { name: "bias", kind: "float", size: 1, default: 0 });
  const rows = x === undefined ? features.map((row) => row.map(Number)) : rowsOf(x).map((row) => row.map((value) => value * factor));
  const logits = timesMatrix(rows, tf1Kernel).map((row, index) =>
    row.map((value, column) => value + (tf1Bias[column] ?? 0) + Number(shifts[index]?.[0] ?? 0)),
  );
  if (signatureName === "regress")
    return {
      outputs: floats(
        [rows.length, 1],
        logits.map((row) => row.reduce((a, b) => a + b)),
      ),
    };
  const probs = logits.map(softmax);
  if (signatureName === "x_only") return { probs: floats([rows.length, 3], probs.flat()) };
  const ranks = probs.map((row) => [0, 1, 2].sort((a, b) => (row[b] ?? 0) - (row[a] ?? 0)));
  const classes = strings(
    [rows.length, 3],
    ranks.flatMap((rank) => rank.map((index) => ["red", "green", "blue"][index] ?? "")),
  );
  if (signatureName === "classify") {
    return {
      classes,
      scores: floats(
        [rows.length, 3],
        ranks.flatMap((rank, row) => rank.map((index) => probs[row]?.[index] ?? 0)),
      ),
    };
  }
  return { classes, logits: floats([rows.length, 3], logits.flat()), probs: floats([rows.length, 3], probs.flat()) };
});

/** The models of the recorded server whose arithmetic stands here. */
export const goldenModels: ModelMap = {
  half_plus_two: { 123: halfPlusTwo },
  "half plus/two:ä": { 123: halfPlusTwo },
  multi_version: { 1: multiVersion(1), 2: multiVersion(2), 3: multiVersion(3) },
  multi_head: { 1: multiHead },
  multi_io: { 1: multiIo },
  dtype_zoo: { 1: dtypeZoo },
  signature_defaults: { 1: signatureDefaults },
  tf1_saver: { 1: tf1Saver },
  slow: { 1: slow },
  large_output: { 1: largeOutput },
  vocabulary: { 1: vocabulary },
};

/** All models of the recorded server; those whose graphs need TensorFlow's kernels have signatures only. */
export const allGoldenModels: ModelMap = {
  ...goldenModels,
  ...Object.fromEntries(
    ["digits", "encoder", "recommender", "tf1_control_flow", "tf1_frozen"].map((name) => [name, { 1: model(`${name}/1`) }]),
  ),
};

/** The labels of the recorded server. */
export const goldenLabels = { half_plus_two: { "a b/c:ü": 123 }, multi_version: { stable: 2, canary: 3 } };
