import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { TensorProto } from "../../gen/tensorflow/core/framework/tensor.js";
import { isServingError } from "../../src/errors.js";
import { decodeTensor, encodedTensorSize, encodeTensor, expansionBudget, maxExpansionBytes, maxStrings } from "../../src/tensor/codec.js";
import { dtypeToWire } from "../../src/tensor/dtype.js";
import type { AnyTensor } from "../../src/tensor/tensor.js";
import { tensor } from "../../src/tensor/tensor.js";
import { WireReader } from "../../src/tensor/wire.js";
import { readEncoding, tensorFixtures } from "../support/tensor-fixtures.js";

function decode(bytes: Uint8Array): AnyTensor {
  return decodeTensor(new WireReader(bytes), 'output "y"', expansionBudget());
}

function encode(source: AnyTensor): Uint8Array {
  const target = new Uint8Array(encodedTensorSize(source) + 3);
  expect(encodeTensor(source, target, 3)).toBe(target.length);
  return target.subarray(3);
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

/** Base64 of the bytes of all elements, or of each string. */
function elements(source: AnyTensor): string | string[] {
  if (source.dtype === "string") return source.values.map(toBase64);
  return Buffer.from(source.values.buffer, source.values.byteOffset, source.values.byteLength).toString("base64");
}

const encodings = tensorFixtures.flatMap((fixture) =>
  fixture.encodings.map(({ form, file }) => ({ fixture, form, file, name: fixture.name })),
);

describe("decodeTensor", () => {
  it.each(encodings)("reads $name written as $form", ({ fixture, file }) => {
    const decoded = decode(readEncoding(file));
    expect(dtypeToWire(decoded.dtype)).toBe(fixture.dtype_number);
    expect(decoded.shape).toEqual(fixture.shape);
    expect(elements(decoded)).toEqual(fixture.little_endian ?? fixture.values.map((value) => (value as { b64: string }).b64));
  });

  it("gives values that share no memory with the message", () => {
    const message = encode(tensor("float32", [2], [1, 2]));
    const { values } = decode(message).as("float32");
    message.fill(255);
    expect([...values]).toEqual([1, 2]);
  });

  it("reads lists whose values are not packed, or both packed and single", () => {
    const single = [0x08, 3, 0x12, 4, 0x12, 2, 0x08, 3]; // int32 [3]
    expect(decode(Uint8Array.from([...single, 0x38, 1, 0x38, 2, 0x38, 3])).values).toEqual(Int32Array.of(1, 2, 3));
    expect(decode(Uint8Array.from([...single, 0x38, 1, 0x3a, 2, 2, 3])).values).toEqual(Int32Array.of(1, 2, 3));
  });

  it("reads fields in any order, merges shapes and skips what it does not know", () => {
    const list = [0x3a, 2, 5, 6];
    const shape = [0x12, 4, 0x12, 2, 0x08, 2];
    const unknown = [0xf8, 0x07, 1, 0xfb, 0x07, 0x08, 1, 0xfc, 0x07];
    const decoded = decode(Uint8Array.from([...list, ...unknown, ...shape, 0x12, 4, 0x12, 2, 0x08, 1, 0x08, 3]));
    expect(decoded).toMatchObject({ dtype: "int32", shape: [2, 1], values: Int32Array.of(5, 6) });
  });
});

interface MalformedEntry {
  readonly name: string;
  readonly dtype_number: number;
  readonly file: string;
  readonly parse_tensor: { readonly ok: boolean; readonly tensor?: { readonly shape: readonly number[] } };
}

const malformedFolder = new URL("../fixtures/malformed/", import.meta.url);
const malformed = (JSON.parse(readFileSync(new URL("index.json", malformedFolder), "utf8")) as { entries: MalformedEntry[] }).entries;

describe("decodeTensor and TensorFlow's own decoder", () => {
  // Resource and variant tensors have no values a client could use, and int2, uint2 are newer than our table: refused by name.
  const withoutTensor = new Set([20, 21, 31, 32]);

  it.each(malformed)("agree on $name", ({ file, dtype_number, parse_tensor }) => {
    const bytes = readFileSync(new URL(file, malformedFolder));
    if (parse_tensor.ok && !withoutTensor.has(dtype_number)) expect(decode(bytes).shape).toEqual(parse_tensor.tensor?.shape);
    else expect(() => decode(bytes)).toThrow(expect.toSatisfy((error) => isServingError(error)));
  });
});

describe("decodeTensor rejects", () => {
  it("more strings than one message may hold, before looking for them", () => {
    const strings = (size: number) =>
      TensorProto.encode(TensorProto.fromPartial({ dtype: 7, tensorShape: { dim: [{ size }] }, stringVal: [Uint8Array.of(1)] })).finish();
    expect(() => decode(strings(maxStrings + 1))).toThrow(
      'output "y": string [8388609]: expected at most 8388608 strings in one message, got 8388609',
    );
    const budget = expansionBudget();
    decodeTensor(new WireReader(strings(1)), "first", budget);
    expect(() => decodeTensor(new WireReader(strings(maxStrings)), "second", budget)).toThrow(/^second: .*, got 8388609$/);
  });

  it("a short list that would grow beyond the budget, before allocating", () => {
    const proto = TensorProto.fromPartial({ dtype: 1, tensorShape: { dim: [{ size: 1e15 }] }, floatVal: [1] });
    expect(() => decode(TensorProto.encode(proto).finish())).toThrow(/output "y": float32 \[1000000000000000\]/);
  });

  it("the tensor that breaks the budget of its message", () => {
    const half = { dtype: 4, tensorShape: { dim: [{ size: maxExpansionBytes / 2 + 2 }] }, intVal: [7] };
    const bytes = TensorProto.encode(TensorProto.fromPartial(half)).finish();
    const budget = expansionBudget();
    decodeTensor(new WireReader(bytes), "first", budget);
    expect(() => decodeTensor(new WireReader(bytes), "second", budget)).toThrow(/^second/);
  });

  it.each(tensorFixtures.filter(({ name }) => !name.includes("large")).slice(0, 120))(
    "every truncation of $name, or reads less of it",
    ({ encodings }) => {
      for (const { file } of encodings) {
        const bytes = readEncoding(file);
        for (let length = 0; length < Math.min(bytes.length, 200); length++) {
          try {
            decode(bytes.subarray(0, length));
          } catch (error) {
            expect(isServingError(error)).toBe(true);
          }
        }
      }
    },
  );
});

describe("encodeTensor", () => {
  it.each(encodings.filter(({ form }) => form === "tensor_content"))("writes $name so that generated code reads the same", ({ file }) => {
    const source = decode(readEncoding(file));
    const proto = TensorProto.decode(encode(source));
    if (source.dtype === "string") expect(proto.stringVal.map(toBase64)).toEqual(elements(source));
    else expect(proto).toEqual(TensorProto.decode(new Uint8Array(readEncoding(file))));
    expect(proto.tensorShape?.dim.map(({ size }) => size.toNumber())).toEqual(source.shape);
  });

  it("writes part of a larger array", () => {
    const part = Float64Array.of(9, 1, 2, 9).subarray(1, 3);
    expect(decode(encode(tensor("float64", [2], part))).values).toEqual(Float64Array.of(1, 2));
  });

  it("writes strings as string_val", () => {
    const proto = TensorProto.decode(encode(tensor("string", [2], ["é", ""])));
    expect(proto.stringVal.map((value) => new TextDecoder().decode(value))).toEqual(["é", ""]);
  });
});
