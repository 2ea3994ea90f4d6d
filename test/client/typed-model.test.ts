import { describe, expect, it } from "vitest";
import { defineModel } from "../../src/client/model-definition.js";
import { PredictionClient } from "../../src/client/prediction-client.js";
import type { InputOf } from "../../src/client/typed-model.js";
import { createInMemoryTransport, type Servable, servable, startModelServer } from "../../src/server/index.js";
import { tensorFromPlain } from "../../src/signature.js";
import { type DType, dtypes } from "../../src/tensor/dtype.js";
import { tensor } from "../../src/tensor/tensor.js";
import { EchoTransport, vectorSignature } from "../support/echo-transport.js";

const [i8, i16, i32, i64] = [new Int8Array(1), new Int16Array(1), new Int32Array(1), new BigInt64Array(1)];
const [u8, u16, u32, u64] = [new Uint8Array(1), new Uint16Array(1), new Uint32Array(1), new BigUint64Array(1)];
const [f32, f64] = [new Float32Array(1), new Float64Array(1)];
const typedArrays = [i8, i16, i32, i64, u8, u16, u32, u64, f32, f64];

/** For each dtype every typed array, and examples of elements, that the compiler takes for it. */
const taken: { readonly [D in DType]: readonly InputOf<D>[] } = {
  float32: [f32, f64, 0.5, [[0.5]], [f32], [f64]],
  float64: [f64, 0.5, [f64]],
  float16: [0.5, [0.5]],
  bfloat16: [0.5, [0.5]],
  int8: [i8, 1, 1n, [1]],
  int16: [i8, u8, i16, 1, 1n, [i8]],
  int32: [i8, u8, i16, u16, i32, 1, 1n, [u16]],
  int64: [i8, u8, i16, u16, i32, u32, i64, 1, 1n, [1, 1n], [u32]],
  uint8: [u8, 1, 1n],
  uint16: [u8, u16, 1, 1n],
  uint32: [u8, u16, u32, 1, 1n],
  uint64: [u8, u16, u32, u64, 1, 1n],
  int4: [1, 1n],
  uint4: [1, 1n],
  bool: [true, [[false]]],
  string: ["a", u8, ["a", u8]],
  complex64: [],
  complex128: [],
  qint8: [],
  quint8: [],
  qint16: [],
  quint16: [],
  qint32: [],
  float8_e5m2: [],
  float8_e4m3fn: [],
  float8_e4m3fnuz: [],
  float8_e4m3b11fnuz: [],
  float8_e5m2fnuz: [],
};

const convert = (value: unknown, dtype: DType) => tensorFromPlain(value as number, { dtype, shape: null }, "value");

describe("InputOf", () => {
  it.each(Object.keys(dtypes) as DType[])("takes of plain values what is converted to %s", (dtype) => {
    for (const value of taken[dtype]) expect(convert(value, dtype).dtype).toBe(dtype);
    for (const array of typedArrays.filter((candidate) => !(taken[dtype] as unknown[]).includes(candidate))) {
      expect(() => convert(array, dtype)).toThrow(`expected ${dtype}`);
    }
    const kinds = new Set(taken[dtype].map((value) => typeof value));
    for (const element of [1, 1n, true, "a"].filter((candidate) => !kinds.has(typeof candidate as never))) {
      expect(() => convert(element, dtype)).toThrow(`expected ${dtype}`);
    }
  });
});

const scores = defineModel({
  name: "scores",
  signatures: {
    serving_default: {
      inputs: { x: { dtype: "float32", shape: [null] }, ["__proto__"]: { dtype: "int64", shape: [], default: 2n } },
      outputs: { y: { dtype: "float32", shape: [null] }, ["constructor"]: { dtype: "int64", shape: [] } },
    },
    classify: {
      methodName: "tensorflow/serving/classify",
      inputs: { inputs: { dtype: "string", shape: [null] } },
      outputs: { scores: { dtype: "float32", shape: [null, null] } },
    },
  },
});

const scoring = servable({
  signatures: scores.signatures,
  predict: ({ x, ["__proto__"]: factor, inputs }, { signatureName }) =>
    signatureName === "classify"
      ? { scores: [...(inputs?.values ?? [])].map(() => [0.5]) }
      : { y: x?.values.map((value) => value * Number(factor?.values[0])) ?? [], constructor: factor ?? 0 },
});

/** What a server may have come to serve since the definition was written. */
const changed = servable({
  signatures: {
    serving_default: { inputs: { x: { dtype: "float32", shape: [null] } }, outputs: { y: { dtype: "float64", shape: [null] } } },
  },
  predict: ({ x }) => ({ y: [...x.values] }),
});

/** A client of a server whose signature and version tests may change. */
function servingVector(dtype: "float32" | "int32") {
  const transport = new EchoTransport();
  transport.signatures = { serving_default: vectorSignature(dtype) };
  // It answers what it was given.
  const vector = defineModel({
    name: "vector",
    signatures: { serving_default: { inputs: { x: { dtype: "float32", shape: [null] } }, outputs: {} } },
  });
  return { transport, model: new PredictionClient(transport).model(vector) };
}

const clientOf = (model: Servable) => new PredictionClient(createInMemoryTransport({ scores: model }));

describe("TypedModelClient", () => {
  it("predicts with a definition that a servable was made from, odd names included", async () => {
    const model = clientOf(scoring).model(scores);
    const { outputs } = await model.predict({ x: [1, 2], ["__proto__"]: 3n });
    expect(outputs.y).toEqual(tensor("float32", [2], [3, 6]));
    expect(outputs.constructor).toEqual(tensor("int64", [], [3n]));
    expect((await model.predict([1, 2])).outputs.y.values).toEqual(Float32Array.of(2, 4));
  });

  it("classifies with the signature that is named", async () => {
    const model = clientOf(scoring).model(scores, { signatureName: "classify" });
    const { results } = await model.classify([{ age: 1 }]);
    expect(results).toEqual([[{ label: "", score: 0.5 }]]);
  });

  it("answers the outputs that are asked for", async () => {
    const { outputs } = await clientOf(scoring)
      .model(scores)
      .predict([1], { outputFilter: ["y"] });
    expect(Object.keys(outputs)).toEqual(["y"]);
  });

  it("refuses an answer that is not what the compiler was told, as of a version that took over during the call", async () => {
    const transport = new EchoTransport();
    transport.signatures = { ...scoring.signatures };
    await expect(new PredictionClient(transport).model(scores).predict([1])).rejects.toMatchObject({
      name: "SignatureError",
      message:
        'INVALID_ARGUMENT: predict scores: output "y": the definition says float32, the server answered no such output; ' +
        'output "constructor": the definition says int64, the server answered no such output',
    });
  });

  it("takes any answer with check: false", async () => {
    const { outputs } = await clientOf(changed).model(scores, { check: false }).predict([1]);
    expect(outputs.y).toEqual(tensor("float64", [1], [1]));
  });

  it("refuses a signature that the definition lacks before anything is sent", async () => {
    const named = clientOf(changed)
      .model(scores)
      .predict([1], { signatureName: "toString" as "serving_default" });
    await expect(named).rejects.toMatchObject({
      differences: ['the definition has no signature "toString", only "serving_default", "classify"'],
    });
  });
});

describe("a model that has drifted from its definition", () => {
  it("is refused before anything is sent, with every difference that calls may break on", async () => {
    const { transport, model } = servingVector("int32");
    await expect(model.predict({ x: tensor("float32", [1], [1]) })).rejects.toMatchObject({
      name: "SignatureError",
      code: "INVALID_ARGUMENT",
      message:
        'INVALID_ARGUMENT: predict vector: version 1 is not as defined: input "x": float32 [?] in the definition, int32 [?] in the model',
      differences: ['input "x": float32 [?] in the definition, int32 [?] in the model'],
    });
    expect(transport.predicts).toEqual([]);
  });

  it("is found out over a real connection too", async () => {
    const server = await startModelServer({ models: { scores: { 7: changed } } });
    try {
      for (const target of [server.grpcTarget, server.restTarget]) {
        const client = new PredictionClient(target);
        const difference = [
          'output "y": float32 [?] in the definition, float64 [?] in the model',
          'output "constructor": int64 [] in the definition, not in the model',
        ];
        await expect(client.model(scores).predict([1])).rejects.toMatchObject({ name: "SignatureError", differences: difference });
        await client.close();
      }
    } finally {
      await server.close();
    }
  });

  it("is compared once for each version, and again before a call is refused", async () => {
    const { transport, model } = servingVector("float32");
    await model.predict([1]);
    await model.predict([2]);
    expect(transport.lookUps).toBe(1);
    transport.version = 2n;
    transport.signatures = { serving_default: vectorSignature("int32") };
    // This answer shows that version 2 has taken over.
    await model.predict([3]);
    await expect(model.predict([4])).rejects.toThrow("version 2 is not as defined");
    expect(transport.lookUps).toBe(2);
    transport.version = 3n;
    transport.signatures = { serving_default: vectorSignature("float32") };
    await model.predict([5]);
    expect(transport.lookUps).toBe(3);
  });

  it("is refused if the signature is gone, with those that there are", async () => {
    const { transport, model } = servingVector("float32");
    transport.signatures = { other: vectorSignature("float32") };
    await expect(model.predict([1])).rejects.toMatchObject({
      message: expect.stringContaining('version 1 is not as defined: no signature "serving_default" in the model, only "other"'),
    });
  });

  it("is called all the same with check: false, and without a definition", async () => {
    const { transport } = servingVector("int32");
    const client = new PredictionClient(transport);
    const x = tensor("float32", [1], [1]);
    await client.model("vector", { check: false }).predict({ x });
    await client.predict("vector", { x });
    expect(transport.predicts).toHaveLength(2);
    expect(transport.lookUps).toBe(0);
  });
});
