import { inspect } from "node:util";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { type DType, dtypeFromWire, dtypes, isDType, type ValuesOf } from "../../src/tensor/dtype.js";
import { type AnyTensor, isTensor, Tensor, type TensorLike, tensor, tensorFrom, toFloat32 } from "../../src/tensor/tensor.js";
import { errorFrom } from "../support/error-from.js";
import { type JsonElement, type TensorFixture, tensorFixtures } from "../support/tensor-fixtures.js";

const names = Object.keys(dtypes) as DType[];
const text = new TextEncoder();

/** A call with arguments the compiler would refuse. */
const looseTensor = tensor as (dtype: unknown, shape: unknown, values: unknown) => AnyTensor;
const looseTensorFrom = tensorFrom as (value: unknown, dtype?: unknown) => AnyTensor;

describe("TensorFlow's tensors", () => {
  it("cover every dtype", () => {
    expect(new Set(tensorFixtures.map((fixture) => dtypeFromWire(fixture.dtype_number)))).toEqual(new Set(names));
  });

  it.each(tensorFixtures)("$name has the bytes TensorFlow has", (fixture) => {
    const { dtype, given } = inputOf(fixture);
    const built = looseTensor(dtype, fixture.shape, given);
    expect(built.shape).toEqual(fixture.shape);
    expect(built.size).toBe(fixture.values.length);
    expect(comparableBytes(built, fixture)).toEqual(comparableBytes(expectedTensor(dtype, fixture), fixture));
  });

  it.each(tensorFixtures)("$name comes back from toNested()", (fixture) => {
    const { dtype } = inputOf(fixture);
    const nested = expectedTensor(dtype, fixture).toNested();
    const levels = fixture.shape.length - 1;
    const flat = fixture.shape.length === 0 ? [nested] : levels === 0 ? (nested as unknown[]) : (nested as unknown[]).flat(levels);
    if (dtypes[dtype].kind !== "float8") expect(flat).toEqual(fixture.values.map((value) => elementFrom(dtype, value)));
    // Outer lists of a shape such as [3, 0, 2] are there, too.
    if (fixture.shape[0] !== undefined) expect(nested).toHaveLength(fixture.shape[0]);
  });

  it.each(tensorFixtures.filter(({ dtype_number }) => [14, 19].includes(dtype_number)))("$name comes back from toFloat32()", (fixture) => {
    const { dtype } = inputOf(fixture);
    const halves = expectedTensor(dtype, fixture) as Tensor<"float16"> | Tensor<"bfloat16">;
    expect([...toFloat32(halves)]).toEqual(fixture.values.map((value) => elementFrom(dtype, value)));
  });
});

describe("tensor", () => {
  it("rounds to nearest even what float16 and bfloat16 cannot hold, beyond their range to infinity", () => {
    expect(tensor("float16", [4], [65519, 65520, -1e6, 2 ** -25]).values).toEqual(Uint16Array.of(0x7bff, 0x7c00, 0xfc00, 0));
    expect(tensor("float16", [1], Float32Array.of(2049)).values).toEqual(Uint16Array.of(0x6800));
    expect(tensor("bfloat16", [2], [3.4e38, 257]).values).toEqual(Uint16Array.of(0x7f80, 0x4380));
  });

  it.each(names.filter((name) => name !== "string"))("keeps the %s array it is given", (dtype) => {
    const { array, kind } = dtypes[dtype];
    const values = new (array as Uint8ArrayConstructor)(kind === "complex" ? 4 : 2);
    expect(looseTensor(dtype, [2], values).values).toBe(values);
  });

  it("takes a Buffer for a Uint8Array, and arrays of another realm", () => {
    const buffer = Buffer.from([1, 2]);
    expect(tensor("uint8", [2], buffer).values).toBe(buffer);
    const foreign: unknown = runInNewContext("new Float32Array([1, 2])");
    expect(looseTensor("float32", [2], foreign).values).toBe(foreign);
  });

  it.each<{ dtype: DType; given: unknown; values: unknown }>([
    {
      dtype: "float32",
      given: [0.1, Number.NaN, Number.POSITIVE_INFINITY, -0],
      values: Float32Array.of(0.1, Number.NaN, Number.POSITIVE_INFINITY, -0),
    },
    { dtype: "float64", given: [0.1, -Number.MAX_VALUE], values: Float64Array.of(0.1, -Number.MAX_VALUE) },
    { dtype: "int64", given: [1n, -2, 2 ** 53 - 1], values: BigInt64Array.of(1n, -2n, 9007199254740991n) },
    { dtype: "int64", given: [{ low: -1, high: -1, unsigned: false }], values: BigInt64Array.of(-1n) },
    { dtype: "int64", given: [{ low: 0, high: -2147483648, unsigned: false }], values: BigInt64Array.of(-(2n ** 63n)) },
    { dtype: "int64", given: [{ low: 5, high: 1, unsigned: true }], values: BigInt64Array.of(4294967301n) },
    { dtype: "uint64", given: [{ low: -1, high: -1, unsigned: true }], values: BigUint64Array.of(2n ** 64n - 1n) },
    { dtype: "uint64", given: [{ low: 4294967295, high: 4294967295, unsigned: true }], values: BigUint64Array.of(2n ** 64n - 1n) },
    { dtype: "uint64", given: [2n ** 64n - 1n, 3], values: BigUint64Array.of(2n ** 64n - 1n, 3n) },
    { dtype: "float16", given: [1, 0.1, -2], values: Uint16Array.of(0x3c00, 0x2e66, 0xc000) },
    { dtype: "float16", given: Float32Array.of(1, Number.NEGATIVE_INFINITY), values: Uint16Array.of(0x3c00, 0xfc00) },
    { dtype: "bfloat16", given: Float32Array.of(1, 3.5), values: Uint16Array.of(0x3f80, 0x4060) },
    { dtype: "bool", given: [true, false], values: Uint8Array.of(1, 0) },
    { dtype: "int4", given: [-8, 7], values: Int8Array.of(-8, 7) },
    { dtype: "uint4", given: [0, 15], values: Uint8Array.of(0, 15) },
    { dtype: "string", given: ["äß😀", Uint8Array.of(255), ""], values: [text.encode("äß😀"), Uint8Array.of(255), new Uint8Array()] },
  ])("converts $given to $dtype", ({ dtype, given, values }) => {
    expect(looseTensor(dtype, [(given as ArrayLike<unknown>).length], given).values).toEqual(values);
  });

  it("counts pairs for complex dtypes", () => {
    const complex = tensor("complex64", [2], Float32Array.of(1, 2, 3, 4));
    expect(complex.size).toBe(2);
    expect(complex.toNested()).toEqual([
      [1, 2],
      [3, 4],
    ]);
  });

  it("has a frozen shape of its own and leaves the caller's lists alone", () => {
    const shape = [2];
    const values = ["a", Uint8Array.of(98)];
    const made = tensor("string", shape, values);
    shape[0] = 5;
    expect(made.shape).toEqual([2]);
    expect(Object.isFrozen(made.shape)).toBe(true);
    expect(Object.isFrozen(shape)).toBe(false);
    expect(values[0]).toBe("a");
  });

  describe("rejects", () => {
    it.each<{ dtype: DType; shape: number[]; given: unknown; message: string }>([
      { dtype: "float32", shape: [2, 3], given: [1], message: "float32 [2, 3]: expected 6 values, got 1" },
      { dtype: "float32", shape: [], given: new Float32Array(0), message: "float32 []: expected 1 values, got 0" },
      { dtype: "complex64", shape: [2], given: new Float32Array(2), message: "complex64 [2]: expected 4 values, got 2" },
      { dtype: "float32", shape: [-1], given: [], message: "shape [-1]: dimension 0 is -1, expected a whole number from 0 to 2^53 - 1" },
      {
        dtype: "float32",
        shape: [1],
        given: [3.5e38],
        message: "float32 [1]: value at [0] is 3.5e+38, expected a number in the range of float32",
      },
      { dtype: "float64", shape: [], given: ["1"], message: 'float64 []: value is "1", expected a number' },
      { dtype: "float64", shape: [1], given: [1n], message: "float64 [1]: value at [0] is 1n, expected a number" },
      { dtype: "float64", shape: [2, 2], given: [1, 2, null, 4], message: "float64 [2, 2]: value at [1][0] is null, expected a number" },
      { dtype: "float64", shape: [2], given: new Array(2), message: "float64 [2]: value at [0] is undefined, expected a number" },
      { dtype: "int8", shape: [1], given: [128], message: "int8 [1]: value at [0] is 128, expected a whole number from -128 to 127" },
      {
        dtype: "int32",
        shape: [1],
        given: [1.5],
        message: "int32 [1]: value at [0] is 1.5, expected a whole number from -2147483648 to 2147483647",
      },
      { dtype: "uint16", shape: [1], given: [-1], message: "uint16 [1]: value at [0] is -1, expected a whole number from 0 to 65535" },
      {
        dtype: "uint32",
        shape: [1],
        given: [true],
        message: "uint32 [1]: value at [0] is true, expected a whole number from 0 to 4294967295",
      },
      { dtype: "int4", shape: [1], given: Int8Array.of(8), message: "int4 [1]: value at [0] is 8, expected a whole number from -8 to 7" },
      {
        dtype: "uint4",
        shape: [1],
        given: Uint8Array.of(16),
        message: "uint4 [1]: value at [0] is 16, expected a whole number from 0 to 15",
      },
      { dtype: "uint4", shape: [1], given: [-1], message: "uint4 [1]: value at [0] is -1, expected a whole number from 0 to 15" },
      { dtype: "bool", shape: [2], given: Uint8Array.of(1, 2), message: "bool [2]: value at [1] is 2, expected 0 or 1" },
      { dtype: "bool", shape: [1], given: [1], message: "bool [1]: value at [0] is 1, expected a boolean" },
      { dtype: "string", shape: [1], given: [5], message: "string [1]: value at [0] is 5, expected a string or a Uint8Array" },
      {
        dtype: "string",
        shape: [1],
        given: ["\ud800a"],
        message: 'string [1]: value at [0] is "\\ud800a", expected a string without lone surrogates',
      },
      { dtype: "string", shape: [1], given: "a", message: 'string [1]: expected an array of strings and Uint8Arrays, got "a"' },
      {
        dtype: "float32",
        shape: [1],
        given: new Float64Array(1),
        message: "float32 [1]: expected a Float32Array or an array of numbers, got a Float64Array",
      },
      {
        dtype: "int64",
        shape: [1],
        given: new Int32Array(1),
        message: "int64 [1]: expected a BigInt64Array or an array of bigints, got an Int32Array",
      },
      {
        dtype: "float16",
        shape: [1],
        given: new Float64Array(1),
        message: "float16 [1]: expected a Uint16Array of bit patterns, a Float32Array or an array of numbers, got a Float64Array",
      },
      { dtype: "qint8", shape: [1], given: [1], message: "qint8 [1]: expected an Int8Array, got a list of 1" },
      { dtype: "complex64", shape: [1], given: [1, 2], message: "complex64 [1]: expected a Float32Array, got a list of 2" },
      { dtype: "float8_e5m2", shape: [1], given: [1], message: "float8_e5m2 [1]: expected a Uint8Array, got a list of 1" },
      {
        dtype: "uint8",
        shape: [1],
        given: new Uint8ClampedArray(1),
        message: "uint8 [1]: expected a Uint8Array or an array of numbers, got a Uint8ClampedArray",
      },
      {
        dtype: "uint8",
        shape: [1],
        given: new DataView(new ArrayBuffer(1)),
        message: "uint8 [1]: expected a Uint8Array or an array of numbers, got an object",
      },
      {
        dtype: "bool",
        shape: [1],
        given: undefined,
        message: "bool [1]: expected a Uint8Array of 0 and 1 or an array of booleans, got undefined",
      },
    ])("$message", ({ dtype, shape, given, message }) => {
      expect(errorFrom(() => looseTensor(dtype, shape, given))).toMatchObject({ name: "TensorError", code: "INVALID_ARGUMENT", message });
    });

    it.each<{ dtype: DType; given: unknown }>([
      { dtype: "int64", given: 2 ** 53 },
      { dtype: "int64", given: 1.5 },
      { dtype: "int64", given: 2n ** 63n },
      { dtype: "int64", given: { low: 0, high: -2147483648, unsigned: true } },
      { dtype: "int64", given: { low: 1.5, high: 0, unsigned: false } },
      { dtype: "int64", given: { low: 1, high: 2 ** 32, unsigned: false } },
      { dtype: "int64", given: {} },
      { dtype: "int64", given: null },
      { dtype: "int64", given: "1" },
      { dtype: "uint64", given: -1 },
      { dtype: "uint64", given: -1n },
      { dtype: "uint64", given: 2n ** 64n },
      { dtype: "uint64", given: { low: -1, high: -1, unsigned: false } },
    ])("$given as $dtype", ({ dtype, given }) => {
      expect(errorFrom(() => looseTensor(dtype, [1], [given]))).toMatchObject({
        name: "TensorError",
        message: expect.stringContaining("expected a bigint, a safe whole number or a { low, high, unsigned }"),
      });
    });

    it.each([
      { dtype: "resource", shape: [], message: 'unknown dtype "resource"' },
      { dtype: "toString", shape: [], message: 'unknown dtype "toString"' },
      { dtype: undefined, shape: [], message: "unknown dtype undefined" },
      { dtype: "float32", shape: 3, message: "shape must be an array of numbers, got 3" },
    ])("$dtype of shape $shape with a TypeError", ({ dtype, shape, message }) => {
      expect(errorFrom(() => looseTensor(dtype, shape, [1]))).toMatchObject({ name: "TypeError", message });
    });
  });
});

describe("tensorFrom", () => {
  const bytes = Uint8Array.of(1, 2, 3);
  it.each<{ value: unknown; dtype?: DType; expected: AnyTensor }>([
    { value: 1.5, expected: tensor("float32", [], [1.5]) },
    { value: 2n, expected: tensor("int64", [], [2n]) },
    { value: true, expected: tensor("bool", [], [true]) },
    { value: "a", expected: tensor("string", [], ["a"]) },
    { value: [1, 2, 5], expected: tensor("float32", [3], [1, 2, 5]) },
    { value: [[1n], [2n]], expected: tensor("int64", [2, 1], [1n, 2n]) },
    { value: [[[true], [false]]], expected: tensor("bool", [1, 2, 1], [true, false]) },
    { value: [["a", bytes]], expected: tensor("string", [1, 2], ["a", bytes]) },
    { value: [], expected: tensor("float32", [0], []) },
    { value: [[], []], expected: tensor("float32", [2, 0], []) },
    { value: [], dtype: "string", expected: tensor("string", [0], []) },
    { value: [[1], [2]], dtype: "int32", expected: tensor("int32", [2, 1], [1, 2]) },
    { value: [1, 2n], dtype: "int64", expected: tensor("int64", [2], [1n, 2n]) },
    { value: [1], dtype: "float16", expected: tensor("float16", [1], [1]) },
    { value: bytes, expected: tensor("uint8", [3], bytes) },
    { value: bytes, dtype: "string", expected: tensor("string", [], [bytes]) },
    { value: bytes, dtype: "float8_e5m2", expected: tensor("float8_e5m2", [3], bytes) },
    { value: Float32Array.of(1), expected: tensor("float32", [1], [1]) },
    { value: Float64Array.of(1), expected: tensor("float64", [1], [1]) },
    { value: Int8Array.of(1), expected: tensor("int8", [1], [1]) },
    { value: Int16Array.of(1), expected: tensor("int16", [1], [1]) },
    { value: Int32Array.of(1), expected: tensor("int32", [1], [1]) },
    { value: Uint16Array.of(1), expected: tensor("uint16", [1], [1]) },
    { value: Uint32Array.of(1), expected: tensor("uint32", [1], [1]) },
    { value: BigInt64Array.of(1n), expected: tensor("int64", [1], [1n]) },
    { value: BigUint64Array.of(1n), expected: tensor("uint64", [1], [1n]) },
    { value: Uint16Array.of(0x3c00), dtype: "float16", expected: tensor("float16", [1], [1]) },
    { value: Float32Array.of(1), dtype: "bfloat16", expected: tensor("bfloat16", [1], [1]) },
    { value: Float32Array.of(1, 2), dtype: "complex64", expected: tensor("complex64", [1], Float32Array.of(1, 2)) },
  ])("makes $expected of $value", ({ value, dtype, expected }) => {
    expect(looseTensorFrom(value, dtype)).toEqual(expected);
  });

  it("returns a tensor as it is", () => {
    const made = tensor("int32", [1], [1]);
    expect(tensorFrom(made)).toBe(made);
    expect(tensorFrom(made, "int32")).toBe(made);
  });

  it.each<{ dtype: DType; shape: number[] }>([
    { dtype: "float32", shape: [2, 3] },
    { dtype: "int64", shape: [3, 2] },
    { dtype: "bool", shape: [6] },
    { dtype: "float16", shape: [1, 6, 1] },
  ])("turns the toNested() of $dtype $shape back", ({ dtype, shape }) => {
    const list = dtype === "bool" ? [true, false, true, true, false, false] : [0, 1, 2, 3, 4, 5];
    const made = looseTensor(dtype, shape, list);
    expect(looseTensorFrom(made.toNested(), dtype)).toEqual(made);
  });

  const cyclic: unknown[] = [];
  cyclic.push(cyclic);
  describe("rejects", () => {
    it.each<{ value: unknown; dtype?: DType; message: string }>([
      { value: [[1, 2], [3]], message: "nested value at [1]: expected a list of 2 as in the first one, got a list of 1" },
      { value: [[1], 2], message: "nested value at [1]: expected a list of 1 as in the first one, got 2" },
      { value: [1, [2]], message: "nested value at [1]: expected one element, got a list of 1" },
      { value: [[[1]], [[[2]]]], message: "nested value at [1][0][0]: expected one element, got a list of 1" },
      { value: [[], [1]], message: "nested value at [1]: expected a list of 0 as in the first one, got a list of 1" },
      { value: [1, true], message: "nested value at [1] is true (bool), but the elements before it are float32" },
      { value: [[1], [2n]], message: "nested value at [1][0] is 2n (int64), but the elements before it are float32" },
      { value: ["a", 1], message: "nested value at [1] is 1 (float32), but the elements before it are string" },
      { value: [{}], message: "nested value at [0] is an object, expected a number, bigint, boolean, string or Uint8Array" },
      { value: null, message: "nested value is null, expected a number, bigint, boolean, string or Uint8Array" },
      {
        value: [Float32Array.of(1)],
        message: "nested value at [0] is a Float32Array, expected a number, bigint, boolean, string or Uint8Array",
      },
      { value: [[1], [1.5]], dtype: "int8", message: "int8 [2, 1]: value at [1][0] is 1.5, expected a whole number from -128 to 127" },
      {
        value: Float64Array.of(1),
        dtype: "float32",
        message: "float32 [1]: expected a Float32Array or an array of numbers, got a Float64Array",
      },
      {
        value: new Uint8ClampedArray(1),
        message: "a Uint8ClampedArray has no dtype of its own: name one, or use a typed array of numbers",
      },
      { value: Float32Array.of(1), dtype: "complex64", message: "complex64 [0]: expected 0 values, got 1" },
      { value: tensor("int32", [1], [1]), dtype: "int64", message: "expected dtype int64, got int32 [1]" },
      { value: cyclic, message: "lists are nested deeper than 254 levels" },
    ])("$message", ({ value, dtype, message }) => {
      expect(errorFrom(() => looseTensorFrom(value, dtype))).toMatchObject({ name: "TensorError", message });
    });
  });
});

describe("Tensor", () => {
  it("gives the texts of a string tensor, byte order mark included", () => {
    expect(tensor("string", [2], ["\ufeffa", "猫"]).strings()).toEqual(["\ufeffa", "猫"]);
  });

  it("refuses texts of bytes that are not UTF-8 and of other dtypes", () => {
    expect(errorFrom(() => tensor("string", [1, 2], ["a", Uint8Array.of(0xff)]).strings())).toMatchObject({
      name: "TensorError",
      message: "string [1, 2]: value at [0][1] is not valid UTF-8",
    });
    expect(errorFrom(() => tensor("int32", [], [1]).strings())).toMatchObject({ message: "expected dtype string, got int32 []" });
  });

  it("is returned by as() of its own dtype and refused by another", () => {
    const made = tensorFrom([1]);
    expect(made.as("float32")).toBe(made);
    expect(errorFrom(() => made.as("int64"))).toMatchObject({ name: "TensorError", message: "expected dtype int64, got float32 [1]" });
  });

  it("nests empty dimensions, but not by the million", () => {
    expect(tensor("float32", [2, 0, 3], []).toNested()).toEqual([[], []]);
    expect(tensor("float32", [0, 2 ** 40], []).toNested()).toEqual([]);
    expect(errorFrom(() => tensor("float32", [2 ** 40, 0], []).toNested())).toMatchObject({ name: "TensorError" });
  });

  it("prints in one line", () => {
    expect(inspect(tensor("float32", [2, 4], [1, 2, 3, 4, 5, 6, 7, 8]))).toBe("Tensor float32 [2, 4] { 1, 2, 3, 4, 5, 6, ... }");
    expect(inspect(tensor("string", [1], ["a"]))).toBe('Tensor string [1] { "a" }');
  });
});

describe("isTensor", () => {
  it("knows tensors of another copy of the package by their symbol", () => {
    expect(isTensor(tensor("bool", [], [true]))).toBe(true);
    expect(isTensor({ [Symbol.for("tfserving.Tensor")]: true })).toBe(true);
  });

  it.each([null, undefined, 1, "a", [], {}, { dtype: "float32", shape: [], values: [] }])("is false for %s", (value) => {
    expect(isTensor(value)).toBe(false);
  });
});

describe("toFloat32", () => {
  it("refuses other dtypes", () => {
    expect(errorFrom(() => toFloat32(tensor("uint16", [1], [1]) as unknown as Tensor<"float16">))).toMatchObject({
      name: "TensorError",
      message: "expected dtype float16 or bfloat16, got uint16",
    });
  });
});

/** A fixture's elements in the lists or arrays the builder takes for its dtype. */
function inputOf(fixture: TensorFixture): { dtype: DType; given: unknown } {
  const dtype = dtypeFromWire(fixture.dtype_number);
  if (!isDType(dtype)) throw new Error(`${fixture.name} has no dtype of ours`);
  const { array, kind } = dtypes[dtype];
  const elements = fixture.values.map((value) => elementFrom(dtype, value));
  if (kind === "complex") return { dtype, given: new (array as Float64ArrayConstructor)(elements.flat() as number[]) };
  if (kind === "quantized") return { dtype, given: new (array as Int32ArrayConstructor)(elements as number[]) };
  if (kind === "float8") return { dtype, given: new Uint8Array(Buffer.from(fixture.little_endian ?? "", "base64")) };
  return { dtype, given: elements };
}

/** The element toNested() should give. */
function elementFrom(dtype: DType, value: JsonElement): unknown {
  if (Array.isArray(value)) return value.map(Number);
  if (typeof value === "object") return new Uint8Array(Buffer.from((value as { b64: string }).b64, "base64"));
  if (typeof value === "boolean") return value;
  return dtypes[dtype].kind === "bigint" ? BigInt(value as string) : Number(value);
}

/** The tensor of the bytes TensorFlow wrote. */
function expectedTensor(dtype: DType, fixture: TensorFixture): AnyTensor {
  if (fixture.little_endian === undefined) return looseTensor(dtype, fixture.shape, inputOf(fixture).given);
  const { array } = dtypes[dtype];
  const bytes = new Uint8Array(Buffer.from(fixture.little_endian, "base64"));
  return looseTensor(dtype, fixture.shape, new (array as Uint8ArrayConstructor)(bytes.buffer));
}

/** Bytes element by element; NaN as a word, because a JavaScript number does not say which NaN it is. */
function comparableBytes(made: AnyTensor, fixture: TensorFixture): unknown[] {
  if (made.dtype === "string") return made.values.map((value) => Buffer.from(value).toString("hex"));
  const values = made.values as Exclude<ValuesOf<DType>, Uint8Array[]>;
  const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  const { bytes: width } = dtypes[made.dtype];
  return fixture.values.map((value, index) =>
    value === "NaN" || (Array.isArray(value) && value.includes("NaN")) ? "NaN" : bytes.toString("hex", index * width, (index + 1) * width),
  );
}

const asLike: TensorLike[] = [
  1,
  1n,
  true,
  "a",
  [[1], [2]],
  new Uint8Array(1),
  new Float32Array(1),
  tensor("int8", [], [1]),
  [["a", new Uint8Array(1)]],
];

describe("TensorLike", () => {
  it("is what tensorFrom takes", () => {
    for (const value of asLike) expect(tensorFrom(value)).toBeInstanceOf(Tensor);
  });
});
