import { describe, expect, it } from "vitest";
import { defineModel } from "../../src/client/model-definition.js";
import { PredictionClient } from "../../src/client/prediction-client.js";
import type { InputOf } from "../../src/client/typed-model.js";
import { createInMemoryTransport, type Servable, servable } from "../../src/server/index.js";
import { tensorFromPlain } from "../../src/signature.js";
import { type DType, dtypes } from "../../src/tensor/dtype.js";
import { tensor } from "../../src/tensor/tensor.js";

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

  it("refuses an answer that is not what the compiler was told, listing every difference", async () => {
    await expect(clientOf(changed).model(scores).predict([1])).rejects.toMatchObject({
      name: "SignatureError",
      message:
        'INVALID_ARGUMENT: predict scores: output "y": the definition says float32, the server answered float64; ' +
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
