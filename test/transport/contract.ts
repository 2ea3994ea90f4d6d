/** The contract every transport keeps: one suite, run over each of them through a `PredictionClient`. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PredictInputs } from "../../src/client/inputs.js";
import type { ClientOptions, PredictOptions } from "../../src/client/options.js";
import type { PredictionClient } from "../../src/client/prediction-client.js";
import { isServingError } from "../../src/errors.js";
import type { ModelLike } from "../../src/model-spec.js";
import type { ModelMap, VersionLabels } from "../../src/server/model-manager.js";
import { type Servable, type SignatureInit, servable } from "../../src/server/servable.js";
import { type DType, dtypes } from "../../src/tensor/dtype.js";
import { type AnyTensor, tensor } from "../../src/tensor/tensor.js";

/** What is served to the suite. */
export interface ContractModels {
  readonly models: ModelMap;
  readonly versionLabels: VersionLabels;
  /** Let the calls of the model `hang` end. */
  release(): void;
}

/** A server that runs, and clients of it. */
export interface ContractServer {
  client(options?: ClientOptions): PredictionClient;
  close(): Promise<void>;
}

/** One way to reach the models. */
export interface ContractFactory {
  readonly name: string;
  /** Whether JSON carries the tensors, which not every dtype survives. */
  readonly json: boolean;
  start(models: ContractModels): Promise<ContractServer>;
}

const linear = (offset: number): Servable =>
  servable({
    signatures: {
      serving_default: { inputs: { x: { dtype: "float32", shape: [null] } }, outputs: { y: { dtype: "float32", shape: [null] } } },
    },
    predict: ({ x }) => ({
      y: tensor(
        "float32",
        x.shape,
        x.values.map((value) => value / 2 + offset),
      ),
    }),
  });

/** One signature for each dtype, each an identity. */
const identitySignatures: Record<string, SignatureInit> = Object.fromEntries(
  (Object.keys(dtypes) as DType[]).map((dtype) => [
    dtype,
    { inputs: { x: { dtype, shape: null } }, outputs: { y: { dtype, shape: null } } },
  ]),
);

/** The models of the suite. */
export function contractModels(): ContractModels {
  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const models: ModelMap = {
    half_plus_two: { 1: linear(2), 2: linear(3) },
    identity: servable({ signatures: identitySignatures, predict: (inputs) => ({ y: inputs.x as AnyTensor }) }),
    arithmetic: servable({
      signatures: {
        serving_default: {
          inputs: { a: { dtype: "int64", shape: [null] }, b: { dtype: "int64", shape: [], default: 10n } },
          outputs: { sum: { dtype: "int64", shape: [null] }, product: { dtype: "int64", shape: [null] } },
        },
      },
      predict: ({ a, b }) => {
        const other = b.values[0] ?? 0n;
        return {
          sum: tensor(
            "int64",
            a.shape,
            a.values.map((value) => value + other),
          ),
          product: tensor(
            "int64",
            a.shape,
            a.values.map((value) => value * other),
          ),
        };
      },
    }),
    empty: servable({
      signatures: {
        serving_default: { inputs: { x: { dtype: "float32", shape: [null] } }, outputs: { y: { dtype: "string", shape: [null] } } },
      },
      predict: () => ({ y: tensor("string", [0], []) }),
    }),
    hang: servable({
      signatures: { serving_default: { inputs: { x: { dtype: "float32", shape: [] } }, outputs: { y: { dtype: "float32", shape: [] } } } },
      predict: async ({ x }) => {
        await released;
        return { y: x };
      },
    }),
  };
  return { models, versionLabels: { half_plus_two: { stable: 1, canary: 2 } }, release };
}

/** Values of every dtype that need care somewhere. */
const samples: { [D in DType]: AnyTensor } = {
  float32: tensor("float32", [2, 3], [0.1, -0, 3.4028234663852886e38, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]),
  float64: tensor("float64", [6], [0.1, -0, 5e-324, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]),
  int8: tensor("int8", [2], [-128, 127]),
  int16: tensor("int16", [2], [-32768, 32767]),
  int32: tensor("int32", [1, 2, 1], [-2147483648, 2147483647]),
  int64: tensor("int64", [3], [-(2n ** 63n), 2n ** 53n + 1n, 2n ** 63n - 1n]),
  uint8: tensor("uint8", [2], [0, 255]),
  uint16: tensor("uint16", [2], [0, 65535]),
  uint32: tensor("uint32", [2], [0, 4294967295]),
  uint64: tensor("uint64", [2], [0n, 2n ** 64n - 1n]),
  bool: tensor("bool", [2, 1], [true, false]),
  string: tensor("string", [5], ["", "é \u{1f600}", 'a "quoted" \\ \n line', new Uint8Array([0, 255, 254]), '{"b64":"AA=="}']),
  float16: tensor("float16", [2], [1.5, Number.NaN]),
  bfloat16: tensor("bfloat16", [2], [1.5, -0]),
  complex64: tensor("complex64", [1], new Float32Array([1, -2])),
  complex128: tensor("complex128", [1], new Float64Array([1, -2])),
  qint8: tensor("qint8", [1], new Int8Array([-1])),
  quint8: tensor("quint8", [1], new Uint8Array([1])),
  qint16: tensor("qint16", [1], new Int16Array([-1])),
  quint16: tensor("quint16", [1], new Uint16Array([1])),
  qint32: tensor("qint32", [1], new Int32Array([-1])),
  int4: tensor("int4", [2], [-8, 7]),
  uint4: tensor("uint4", [2], [0, 15]),
  float8_e5m2: tensor("float8_e5m2", [1], new Uint8Array([60])),
  float8_e4m3fn: tensor("float8_e4m3fn", [1], new Uint8Array([56])),
  float8_e4m3fnuz: tensor("float8_e4m3fnuz", [1], new Uint8Array([56])),
  float8_e4m3b11fnuz: tensor("float8_e4m3b11fnuz", [1], new Uint8Array([56])),
  float8_e5m2fnuz: tensor("float8_e5m2fnuz", [1], new Uint8Array([60])),
};

/** Dtypes that TensorFlow Serving's JSON has no form for. */
const notInJson: ReadonlySet<DType> = new Set(
  (Object.keys(dtypes) as DType[]).filter(
    (dtype) =>
      ["complex", "quantized", "float8"].includes(dtypes[dtype].kind) || ["float16", "bfloat16", "uint16", "int4", "uint4"].includes(dtype),
  ),
);

/** A call and what comes of it over every transport. */
interface ContractCase {
  readonly title: string;
  readonly model: ModelLike;
  readonly inputs: PredictInputs;
  readonly options?: PredictOptions;
  /** Outputs by name, or the code of the error. */
  readonly expected: Readonly<Record<string, AnyTensor>> | string;
}

const y = (...values: number[]) => ({ y: tensor("float32", [values.length], values) });
const x = tensor("float32", [3], [1, 2, 5]);
const int64 = (...values: bigint[]) => tensor("int64", [values.length], values);

/** Calls that every transport answers alike. */
export const contractCases: readonly ContractCase[] = [
  { title: "tensors", model: "half_plus_two", inputs: { x }, expected: y(3.5, 4, 5.5) },
  { title: "plain values", model: "half_plus_two", inputs: { x: [1, 2, 5] }, expected: y(3.5, 4, 5.5) },
  { title: "a bare typed array", model: "half_plus_two", inputs: new Float32Array([1, 2, 5]), expected: y(3.5, 4, 5.5) },
  { title: "a bare tensor", model: "half_plus_two", inputs: x, expected: y(3.5, 4, 5.5) },
  { title: "no rows", model: "half_plus_two", inputs: { x: [] }, expected: y() },
  { title: "the row format", model: "half_plus_two", inputs: { x }, options: { restFormat: "row" }, expected: y(3.5, 4, 5.5) },
  { title: "a version", model: { name: "half_plus_two", version: 1 }, inputs: { x }, expected: y(2.5, 3, 4.5) },
  { title: "a label", model: { name: "half_plus_two", versionLabel: "stable" }, inputs: { x }, expected: y(2.5, 3, 4.5) },
  { title: "two outputs", model: "arithmetic", inputs: { a: [1, 2n], b: 3 }, expected: { sum: int64(4n, 5n), product: int64(3n, 6n) } },
  { title: "a default", model: "arithmetic", inputs: { a: int64(1n) }, expected: { sum: int64(11n), product: int64(10n) } },
  { title: "a bare value beside a default", model: "arithmetic", inputs: [1], expected: { sum: int64(11n), product: int64(10n) } },
  { title: "an output filter", model: "arithmetic", inputs: [1], options: { outputFilter: ["sum"] }, expected: { sum: int64(11n) } },
  { title: "an empty output", model: "empty", inputs: [1], expected: { y: tensor("string", [0], []) } },
  ...(Object.keys(samples) as DType[])
    .filter((dtype) => !notInJson.has(dtype))
    .map((dtype) => ({
      title: `${dtype} values`,
      model: { name: "identity", signatureName: dtype },
      inputs: { x: samples[dtype] },
      expected: { y: samples[dtype] },
    })),
  { title: "a scalar", model: { name: "identity", signatureName: "float64" }, inputs: 0.1, expected: { y: tensor("float64", [], [0.1]) } },
  { title: "a string", model: { name: "identity", signatureName: "string" }, inputs: "é", expected: { y: tensor("string", [], ["é"]) } },
  {
    title: "nested strings and bytes",
    model: { name: "identity", signatureName: "string" },
    inputs: { x: [["a"], [new Uint8Array([255])]] },
    expected: { y: tensor("string", [2, 1], ["a", new Uint8Array([255])]) },
  },
  { title: "an unknown model", model: "nowhere", inputs: { x }, expected: "NOT_FOUND" },
  { title: "plain values for an unknown model", model: "nowhere", inputs: { x: [1] }, expected: "NOT_FOUND" },
  { title: "an unknown version", model: { name: "half_plus_two", version: 9 }, inputs: { x }, expected: "NOT_FOUND" },
  { title: "an unknown label", model: { name: "half_plus_two", versionLabel: "no" }, inputs: { x }, expected: "INVALID_ARGUMENT" },
  { title: "an unknown signature", model: { name: "half_plus_two", signatureName: "no" }, inputs: { x }, expected: "FAILED_PRECONDITION" },
  { title: "plain values for it", model: { name: "half_plus_two", signatureName: "no" }, inputs: [1], expected: "FAILED_PRECONDITION" },
  { title: "an unknown input", model: "half_plus_two", inputs: { z: x }, expected: "INVALID_ARGUMENT" },
  { title: "a missing input", model: "half_plus_two", inputs: {}, expected: "INVALID_ARGUMENT" },
  { title: "a wrong dtype", model: "half_plus_two", inputs: { x: tensor("int32", [1], [1]) }, expected: "INVALID_ARGUMENT" },
  { title: "a plain value of a wrong kind", model: "half_plus_two", inputs: { x: ["a"] }, expected: "INVALID_ARGUMENT" },
  { title: "a plain value of a wrong rank", model: "half_plus_two", inputs: { x: 1 }, expected: "INVALID_ARGUMENT" },
  { title: "an unknown output", model: "arithmetic", inputs: [1], options: { outputFilter: ["no"] }, expected: "INVALID_ARGUMENT" },
  {
    title: "an output wanted twice",
    model: "arithmetic",
    inputs: [1],
    options: { outputFilter: ["sum", "sum"] },
    expected: "INVALID_ARGUMENT",
  },
];

/** What came of a call, in a form that can be compared: plain outputs, or the code of the error. */
export async function outcomeOf(client: PredictionClient, { model, inputs, options }: ContractCase): Promise<unknown> {
  try {
    return plainOutputs((await client.predict(model, inputs, options)).outputs);
  } catch (error) {
    if (!isServingError(error)) throw error;
    return error.code;
  }
}

function plainOutputs(outputs: Readonly<Record<string, AnyTensor>>): unknown {
  return Object.fromEntries(
    Object.entries(outputs).map(([name, { dtype, shape, values }]) => [
      name,
      { dtype, shape, values: dtype === "string" ? values.map((bytes) => [...bytes]) : values },
    ]),
  );
}

/** Run the suite over one transport. */
export function describeContract(factory: ContractFactory): void {
  describe(`contract over ${factory.name}`, () => {
    const served = contractModels();
    let server: ContractServer;
    let client: PredictionClient;
    beforeAll(async () => {
      server = await factory.start(served);
      client = server.client();
    });
    afterAll(async () => {
      served.release();
      await client.close({ force: true });
      await server.close();
    });

    describe("predict answers", () => {
      it.each(contractCases.map((test) => [test.title, test] as const))("%s", async (_title, test) => {
        const expected = typeof test.expected === "string" ? test.expected : plainOutputs(test.expected);
        expect(await outcomeOf(client, test)).toEqual(expected);
      });
    });

    describe("dtypes that JSON cannot carry", () => {
      it.each([...notInJson])(factory.json ? "%s is refused before sending" : "%s comes back", async (dtype) => {
        const test = { title: "", model: { name: "identity", signatureName: dtype }, inputs: { x: samples[dtype] }, expected: "" };
        const outcome = await outcomeOf(client, test);
        if (factory.json) expect(outcome).toMatch(/^(INVALID_ARGUMENT|UNIMPLEMENTED)$/);
        else expect(outcome).toEqual(plainOutputs({ y: samples[dtype] }));
      });
    });

    it("tells name, signature and, where it was asked for, version", async () => {
      const { modelSpec } = await client.predict({ name: "half_plus_two", version: 1n }, { x });
      expect(modelSpec).toEqual({ name: "half_plus_two", version: 1n, signatureName: "serving_default" });
    });

    it("keeps null prototypes for names from the wire", async () => {
      const { outputs } = await client.predict("half_plus_two", { x });
      expect(Object.getPrototypeOf(outputs)).toBeNull();
      const { signatures } = await client.getModelMetadata("half_plus_two");
      expect(Object.getPrototypeOf(signatures)).toBeNull();
    });

    it("describes errors in full", async () => {
      const error: unknown = await client.predict({ name: "half_plus_two", version: 9 }, { x }).catch((reason: unknown) => reason);
      expect(error).toMatchObject({
        name: "RpcError",
        code: "NOT_FOUND",
        retryable: false,
        modelSpec: { name: "half_plus_two", version: 9 },
        serverMessage: "Servable not found for request: Specific(half_plus_two, 9)",
      });
    });

    it("says what differs from the signature, in the message or as a hint", async () => {
      const error: unknown = await client.predict("half_plus_two", { x: tensor("int32", [1], [1]) }).catch((reason: unknown) => reason);
      const text = isServingError(error) ? `${error.message} ${error.hint}` : "";
      expect(text).toContain('input "x": expected float32 [?], got int32 [1]');
    });

    it("gives metadata", async () => {
      const { modelSpec, signatures } = await client.getModelMetadata("arithmetic");
      expect(modelSpec).toEqual({ name: "arithmetic", version: 1n });
      const signature = signatures.serving_default;
      expect(signature?.methodName).toBe("tensorflow/serving/predict");
      expect(signature?.inputs.a).toEqual({ dtype: "int64", shape: [null] });
      expect(signature?.inputs.b).toMatchObject({ dtype: "int64", shape: [], default: { values: new BigInt64Array([10n]) } });
      expect(Object.keys(signature?.outputs ?? {}).sort()).toEqual(["product", "sum"]);
      await expect(client.getModelMetadata("nowhere")).rejects.toMatchObject({ code: "NOT_FOUND" });
    });

    it("gives the signatures of unknown rank and of every dtype", async () => {
      const { signatures } = await client.getModelMetadata("identity");
      for (const dtype of Object.keys(dtypes)) expect(signatures[dtype]?.inputs.x).toEqual({ dtype, shape: null });
    });

    it("gives the status of all versions, or of one", async () => {
      const available = (version: bigint) => ({ version, state: "AVAILABLE", errorCode: "OK", errorMessage: "" });
      expect(await client.getModelStatus("half_plus_two")).toEqual([available(2n), available(1n)]);
      expect(await client.getModelStatus({ name: "half_plus_two", version: 1 })).toEqual([available(1n)]);
      await expect(client.getModelStatus("nowhere")).rejects.toMatchObject({ code: "NOT_FOUND" });
      await expect(client.getModelStatus({ name: "half_plus_two", version: 9 })).rejects.toMatchObject({ code: "NOT_FOUND" });
    });

    it("rejects with the reason of an abort, before and during a call", async () => {
      const reason = new Error("changed my mind");
      await expect(client.predict("half_plus_two", { x }, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
      const abort = new AbortController();
      const running = client.predict("hang", { x: tensor("float32", [], [1]) }, { signal: abort.signal });
      const refused = expect(running).rejects.toBe(reason);
      // Answered on the same connection, so the first call is on its way.
      await client.predict("half_plus_two", { x });
      abort.abort(reason);
      await refused;
    });

    it("ends a call at its deadline", async () => {
      const began = performance.now();
      const call = client.predict("hang", { x: tensor("float32", [], [1]) }, { timeoutMs: 200 });
      await expect(call).rejects.toMatchObject({ name: "RpcError", code: "DEADLINE_EXCEEDED" });
      expect(performance.now() - began).toBeLessThan(1200);
    });

    it("ends a call that has no time left without sending it", async () => {
      await expect(client.predict("half_plus_two", { x }, { timeoutMs: 0.001 })).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    });

    it("keeps 50 calls at a time apart", async () => {
      const results = await Promise.all(Array.from({ length: 50 }, (_, i) => client.predict("half_plus_two", { x: [i] })));
      expect(results.map(({ outputs }) => outputs.y?.values[0])).toEqual(Array.from({ length: 50 }, (_, i) => i / 2 + 3));
    });

    it("takes metadata, also from a function", async () => {
      const own = server.client({ metadata: async () => ({ authorization: "token", "x-list": ["a", "b"] }) });
      const { outputs } = await own.predict("half_plus_two", { x: [1] }, { metadata: { "x-request": "1" } });
      expect(outputs.y?.values).toEqual(new Float32Array([3.5]));
      await own.close();
    });

    it("rejects with what the metadata function throws", async () => {
      const own = server.client({
        metadata: async () => {
          throw new Error("no token");
        },
      });
      await expect(own.predict("half_plus_two", { x })).rejects.toThrow("no token");
      await own.close();
    });

    it("waits for running calls when it closes, and refuses new ones", async () => {
      const own = server.client();
      const running = own.predict("half_plus_two", { x });
      const closing = own.close();
      await expect(own.predict("half_plus_two", { x })).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
      expect((await running).outputs.y?.shape).toEqual([3]);
      await Promise.all([closing, own.close()]);
    });

    it("ends running calls when it closes by force", async () => {
      const own = server.client();
      const running = own.predict("hang", { x: tensor("float32", [], [1]) });
      const refused = expect(running).rejects.toMatchObject({ code: "CANCELLED" });
      await own.predict("half_plus_two", { x });
      await own.close({ force: true });
      await refused;
    });
  });
}
