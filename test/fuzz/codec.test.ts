import { describe, expect, it } from "vitest";
import { PredictRequest, PredictResponse } from "../../gen/tensorflow_serving/apis/predict.js";
import { isServingError } from "../../src/errors.js";
import { decodePredictResponse, EncodedPredictRequest } from "../../src/predict-codec.js";
import { maxExpansionBytes } from "../../src/tensor/codec.js";
import { type DType, dtypes } from "../../src/tensor/dtype.js";
import { parseJson } from "../../src/tensor/json.js";
import { type AnyTensor, tensor } from "../../src/tensor/tensor.js";
import { Random } from "../support/random.js";

/** Rounds of each test: few under `npm test`, as many as FUZZ_ROUNDS says under `npm run fuzz`. */
const rounds = Number(process.env["FUZZ_ROUNDS"] ?? 300);
const seed = Number(process.env["FUZZ_SEED"] ?? 20260801);

const dtypeNames = Object.keys(dtypes) as DType[];

function randomTensor(random: Random): AnyTensor {
  const dtype = random.pick(dtypeNames);
  const shape = Array.from({ length: random.below(4) }, () => random.below(5));
  const size = shape.reduce((product, dim) => product * dim, 1);
  if (dtype === "string")
    return tensor(
      dtype,
      shape,
      Array.from({ length: size }, () => random.bytes(random.below(9))),
    );
  const { array, bytes, kind } = dtypes[dtype];
  const raw = random.bytes(size * bytes);
  if (kind === "bool") for (let i = 0; i < raw.length; i++) raw[i] = (raw[i] as number) & 1;
  if (dtype === "uint4") for (let i = 0; i < raw.length; i++) raw[i] = (raw[i] as number) & 15;
  if (dtype === "int4") for (let i = 0; i < raw.length; i++) raw[i] = ((raw[i] as number) << 28) >> 28;
  return tensor(dtype, shape, new array(raw.buffer) as never) as AnyTensor;
}

function randomInputs(random: Random): Record<string, AnyTensor> {
  const names = ["x", "y", "größe", "constructor", ""].slice(0, 1 + random.below(5));
  return Object.fromEntries(names.map((name) => [name, randomTensor(random)]));
}

/** Bytes of the values, which equal NaNs of one pattern where `toEqual` would not look. */
function contentOf(value: AnyTensor): unknown {
  if (value.dtype === "string") return value.values.map((item) => Buffer.from(item).toString("hex"));
  return Buffer.from(value.values.buffer, value.values.byteOffset, value.values.byteLength).toString("hex");
}

describe("random messages", () => {
  it("are read by generated code as we wrote them, and by us as generated code wrote them", () => {
    const random = new Random(seed);
    for (let round = 0; round < rounds; round++) {
      const inputs = randomInputs(random);
      const request = PredictRequest.decode(new Uint8Array(new EncodedPredictRequest({ name: "m" }, inputs).toBuffer()));
      expect(Object.keys(request.inputs).sort()).toEqual(Object.keys(inputs).sort());
      const response = PredictResponse.encode(PredictResponse.fromPartial({ outputs: request.inputs, modelSpec: { name: "m" } })).finish();
      const { outputs } = decodePredictResponse(response);
      for (const [name, sent] of Object.entries(inputs)) {
        const back = outputs[name] as AnyTensor;
        expect({ dtype: back.dtype, shape: back.shape, content: contentOf(back) }, `seed ${seed}, round ${round}`).toEqual({
          dtype: sent.dtype,
          shape: sent.shape,
          content: contentOf(sent),
        });
      }
    }
  });

  it("with changed bytes are read or refused with our errors, without growing beyond the limit", () => {
    const random = new Random(seed);
    for (let round = 0; round < rounds; round++) {
      const outputs = PredictRequest.decode(
        new Uint8Array(new EncodedPredictRequest({ name: "m" }, randomInputs(random)).toBuffer()),
      ).inputs;
      const bytes = PredictResponse.encode(PredictResponse.fromPartial({ outputs })).finish();
      for (let change = 0; change < 20; change++) {
        const mutated = bytes.slice(0, 1 + random.below(bytes.length));
        for (let i = random.below(4); i >= 0; i--) mutated[random.below(mutated.length)] = random.below(256);
        try {
          const result = Object.values(decodePredictResponse(mutated).outputs);
          // A string costs 8 bytes by the same count that limits the repetition.
          const size = result.reduce((sum, output) => sum + output.size * (dtypes[output.dtype].bytes || 8), 0);
          expect(size).toBeLessThanOrEqual(maxExpansionBytes + 16 * mutated.length);
        } catch (error) {
          if (!isServingError(error))
            throw new Error(`seed ${seed}, round ${round}: ${Buffer.from(mutated).toString("hex")}`, { cause: error });
        }
      }
    }
  });
});

describe("random JSON", () => {
  it("of finite numbers, text and nesting is read as JSON.parse reads it", () => {
    const random = new Random(seed);
    const value = (depth: number): unknown => {
      switch (random.below(depth > 3 ? 4 : 6)) {
        case 0:
          return (random.next() - 0.5) * 10 ** (random.below(40) - 20);
        case 1:
          return random.below(2 ** 31);
        case 2:
          return String.fromCodePoint(...Array.from({ length: random.below(6) }, () => random.pick([9, 34, 92, 65, 233, 8364, 128512])));
        case 3:
          return random.pick([true, false, null]);
        case 4:
          return Array.from({ length: random.below(5) }, () => value(depth + 1));
        default:
          return Object.fromEntries(Array.from({ length: random.below(4) }, (_, i) => [`k${i}`, value(depth + 1)]));
      }
    };
    for (let round = 0; round < rounds; round++) {
      const text = JSON.stringify({ value: value(0) }, null, random.below(3));
      const ours = JSON.stringify(parseJson(Buffer.from(text)), (_key, item) => (typeof item === "bigint" ? Number(item) : item));
      expect(JSON.parse(ours), `seed ${seed}, round ${round}`).toEqual(JSON.parse(text));
    }
  });

  it("with changed bytes is read or refused with our errors", () => {
    const random = new Random(seed);
    const text = Buffer.from('{"outputs": [[1.5, -2e10, NaN], [3, "a\\u00e9", {"b64": "AA=="}]], "x": [true, null, -Infinity]}');
    for (let round = 0; round < rounds * 20; round++) {
      const mutated = Buffer.from(text.subarray(0, 1 + random.below(text.length)));
      for (let i = random.below(4); i >= 0; i--) mutated[random.below(mutated.length)] = random.below(256);
      try {
        parseJson(mutated);
      } catch (error) {
        if (!isServingError(error)) throw new Error(`seed ${seed}, round ${round}: ${mutated.toString("hex")}`, { cause: error });
      }
    }
  });
});
