/** Servables that stand for the recorded SavedModels: signatures from the recorded metadata, JavaScript in place of the graphs. */
import { readFileSync } from "node:fs";
import { type ModelMap, type Servable, type SignatureInit, servable, type TensorSpecInit } from "../../src/server/index.js";
import { type AnyTensor, tensor } from "../../src/tensor/tensor.js";

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

/** `y = x / 2 + 2`. */
export const halfPlusTwo: Servable = recorded("half_plus_two", (x) => elementwise(x, (value) => value / 2 + 2));

/** The models of the recorded server that JavaScript can stand for, at least for refusals. */
export const goldenModels: ModelMap = {
  half_plus_two: { 123: halfPlusTwo },
  "half plus/two:ä": { 123: halfPlusTwo },
  multi_version: {
    1: recorded("multi_version", (x) => elementwise(x, (v) => v + 1)),
    2: recorded("multi_version", (x) => elementwise(x, (v) => 2 * v + 2)),
    3: recorded("multi_version", (x) => elementwise(x, (v) => Math.fround(3 * v) + 3)),
  },
  multi_io: { 1: recorded("multi_io", (x) => x) },
  dtype_zoo: { 1: recorded("dtype_zoo", (x) => x) },
  signature_defaults: { 1: recorded("signature_defaults", (x) => x) },
};

/** The labels of the recorded server. */
export const goldenLabels = { half_plus_two: { "a b/c:ü": 123 }, multi_version: { stable: 2, canary: 3 } };
