/** Servables that stand for the recorded SavedModels: signatures from the recorded metadata, JavaScript in place of the graphs. */
import { readFileSync } from "node:fs";
import { type ModelMap, type Servable, type SignatureInit, servable, type TensorSpecInit } from "../../src/server/index.js";
import { type AnyTensor, tensor } from "../../src/tensor/tensor.js";
import { parseFeature } from "./parse-example.js";

/** One recorded exchange, as far as the tests look at it. */
export interface Exchange {
  readonly id: string;
  readonly model: string | null;
  readonly transport: string;
  readonly depends_on_model: boolean;
  readonly transport_text?: string;
  readonly compare?: string;
  readonly request: {
    readonly method: string;
    readonly target?: string;
    readonly headers?: readonly [string, string][];
    readonly body?: string;
    readonly body_b64?: string;
    readonly bytes?: string;
    readonly raw?: unknown;
  };
  readonly response: {
    readonly status: number;
    readonly reason: string;
    readonly headers: readonly [string, string][];
    readonly body?: string;
    readonly body_b64?: string;
    readonly code: string;
    readonly message?: string;
  };
}

/** The request of a REST exchange, byte for byte. */
export function restRequest({ request }: Exchange): Buffer {
  const body = request.body_b64 === undefined ? Buffer.from(request.body ?? "") : Buffer.from(request.body_b64, "base64");
  const head = [`${request.method} ${request.target} HTTP/1.1`, ...(request.headers ?? []).map(([name, value]) => `${name}: ${value}`)];
  return Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n`, "latin1"), body]);
}

/** The exchanges of one recorded file. */
export function exchanges(file: string): readonly Exchange[] {
  const path = new URL(`../fixtures/golden/${file}.json`, import.meta.url);
  return (JSON.parse(readFileSync(path, "utf8")) as { exchanges: Exchange[] }).exchanges;
}

interface RecordedInfo {
  readonly dtype: string;
  readonly tensor_shape: { readonly dim: readonly { readonly size: string }[]; readonly unknown_rank: boolean };
}

interface RecordedSignature {
  readonly inputs: Readonly<Record<string, RecordedInfo>>;
  readonly outputs: Readonly<Record<string, RecordedInfo>>;
  readonly method_name: string;
  readonly defaults: Readonly<Record<string, unknown>>;
}

const dtypeNames: Readonly<Record<string, string>> = { DT_FLOAT: "float32", DT_DOUBLE: "float64", DT_HALF: "float16" };

function recordedSignatures(model: string): Record<string, SignatureInit> {
  const exchange = exchanges("metadata-status").find(({ id }) => id === `metadata-status/rest/metadata_${model}`);
  const body = JSON.parse(exchange?.response.body ?? "") as {
    metadata: { signature_def: { signature_def: Record<string, RecordedSignature> } };
  };
  const callable = Object.entries(body.metadata.signature_def.signature_def).filter(([, signature]) => signature.method_name !== "");
  return Object.fromEntries(
    callable.map(([name, { inputs, outputs, method_name, defaults }]) => {
      // Only that there is a default matters here: no recorded answer of these tests is computed from one.
      const spec = (input: string, info: RecordedInfo) => ({ ...tensorSpec(info), ...(input in defaults ? { default: 1 } : {}) });
      const inputSpecs = Object.fromEntries(Object.entries(inputs).map(([input, info]) => [input, spec(input, info)]));
      const outputSpecs = Object.fromEntries(Object.entries(outputs).map(([output, info]) => [output, tensorSpec(info)]));
      return [name, { inputs: inputSpecs, outputs: outputSpecs, methodName: method_name }];
    }),
  );
}

function tensorSpec({ dtype, tensor_shape }: RecordedInfo): TensorSpecInit {
  const shape = tensor_shape.unknown_rank ? null : tensor_shape.dim.map(({ size }) => (size === "-1" ? null : Number(size)));
  return { dtype: (dtypeNames[dtype] ?? dtype.slice(3).toLowerCase()) as TensorSpecInit["dtype"], shape };
}

function recorded(model: string, compute: (x: AnyTensor) => AnyTensor): Servable {
  return servable({
    signatures: recordedSignatures(model),
    predict: ({ x }) => {
      if (x === undefined) throw new Error(`${model} has no graph here`);
      return { y: compute(x) };
    },
  });
}

function elementwise(input: AnyTensor, compute: (value: number) => number): AnyTensor {
  const x = input.as("float32");
  return tensor(
    "float32",
    x.shape,
    x.values.map((value: number) => compute(value)),
  );
}

/** `y = x / 2 + 2`, and the same and more on the features x and x2 of serialized examples. */
export const halfPlusTwo: Servable = servable({
  signatures: recordedSignatures("half_plus_two"),
  predict: ({ x, inputs }, { signatureName }) => {
    if (x !== undefined) return { y: elementwise(x, (value) => value / 2 + 2) };
    const bias = signatureName.endsWith("_x_to_y") ? 2 : 3;
    const feature = parseFeature(inputs, { name: signatureName.includes("_x2_") ? "x2" : "x", kind: "float", size: 1 });
    const y = feature.map(([value]) => Math.fround(Math.fround(Number(value) * 0.5) + bias));
    return { [signatureName.startsWith("classify") ? "scores" : "outputs"]: tensor("float32", [y.length, 1], y) };
  },
});

/** The variables of multi_head. */
const multiHeadWeights = [
  [0.6544657945632935, 0.6848390698432922, -0.2294568419456482],
  [1.9507746696472168, -0.39413368701934814, 0.44008055329322815],
  [-0.9491764307022095, -0.6048121452331543, 0.5961436629295349],
  [0.22229138016700745, 0.08838415890932083, -0.29668164253234863],
];
const multiHeadRegression = [[-1.0233360528945923], [-1.0405279397964478], [1.989410400390625], [1.2690316438674927]];

/** Two heads on the features age, pos and city of serialized examples, or on those four numbers. */
const multiHead: Servable = servable({
  signatures: recordedSignatures("multi_head"),
  predict: ({ dense, inputs }, { signatureName }) => {
    const rows = dense === undefined ? multiHeadFeatures(inputs) : rowsOf(dense.as("float32"));
    const scores = tensor("float32", [rows.length, 3], timesMatrix(rows, multiHeadWeights).flatMap(softmax));
    const values = timesMatrix(rows, multiHeadRegression).flat();
    if (dense !== undefined) return { scores, value: tensor("float32", [rows.length, 1], values) };
    if (signatureName === "regress_flat") return { outputs: tensor("float32", [rows.length], values) };
    if (signatureName === "regress") return { outputs: tensor("float32", [rows.length, 1], values) };
    const classes = tensor(
      "string",
      [rows.length, 3],
      rows.flatMap(() => ["low", "mid", "high"]),
    );
    return {
      ...(signatureName === "classify_classes_only" ? {} : { scores }),
      ...(signatureName === "classify_scores_only" ? {} : { classes }),
    };
  },
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

function rowsOf({ shape, values }: { shape: readonly number[]; values: Float32Array }): number[][] {
  const [rows = 0, width = 0] = shape;
  return Array.from({ length: rows }, (_, row) => Array.from(values.subarray(row * width, (row + 1) * width)));
}

function timesMatrix(rows: readonly (readonly number[])[], matrix: readonly (readonly number[])[]): number[][] {
  return rows.map((row) => (matrix[0] ?? []).map((_, column) => row.reduce((sum, x, i) => sum + x * (matrix[i]?.[column] ?? 0), 0)));
}

function softmax(logits: readonly number[]): number[] {
  const powers = logits.map((logit) => Math.exp(logit));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

/** The models of the recorded server that JavaScript can stand for, at least for refusals. */
export const goldenModels: ModelMap = {
  half_plus_two: { 123: halfPlusTwo },
  "half plus/two:ä": { 123: halfPlusTwo },
  multi_version: {
    1: recorded("multi_version", (x) => elementwise(x, (v) => v + 1)),
    2: recorded("multi_version", (x) => elementwise(x, (v) => 2 * v + 2)),
    3: recorded("multi_version", (x) => elementwise(x, (v) => Math.fround(3 * v) + 3)),
  },
  multi_head: { 1: multiHead },
  multi_io: { 1: recorded("multi_io", (x) => x) },
  dtype_zoo: { 1: recorded("dtype_zoo", (x) => x) },
  signature_defaults: { 1: recorded("signature_defaults", (x) => x) },
};

/** The labels of the recorded server. */
export const goldenLabels = { half_plus_two: { "a b/c:ü": 123 }, multi_version: { stable: 2, canary: 3 } };
