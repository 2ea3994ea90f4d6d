import { describe, expect, it, vi } from "vitest";
import { TensorProto } from "../../gen/tensorflow/core/framework/tensor.js";
import { decodeTensor, encodedTensorSize, encodeTensor, expansionBudget } from "../../src/tensor/codec.js";
import { type DType, dtypes } from "../../src/tensor/dtype.js";
import { copyRows, joinRows, piecesOf } from "../../src/tensor/rows.js";
import { type AnyTensor, type Tensor, tensor } from "../../src/tensor/tensor.js";
import { WireReader } from "../../src/tensor/wire.js";
import { Random } from "../support/random.js";

const dtypeNames = Object.keys(dtypes) as DType[];
/** Sizes of the dimensions behind the rows, and how many elements that makes. */
const trailing = [
  { rest: [], perRow: 1 },
  { rest: [3, 2], perRow: 6 },
  { rest: [0], perRow: 0 },
];

/** A tensor of random elements; strings of 0 to 5 bytes. */
function randomRows(dtype: DType, rows: number, rest: readonly number[], random: Random): AnyTensor {
  const shape = [rows, ...rest];
  const size = shape.reduce((product, dim) => product * dim, 1);
  const { array, bytes, kind } = dtypes[dtype];
  if (dtype === "string")
    return tensor(
      dtype,
      shape,
      Array.from({ length: size }, () => random.bytes(random.below(6))),
    );
  const raw = random.bytes(size * bytes);
  if (kind === "bool" || dtype === "int4" || dtype === "uint4") for (let i = 0; i < raw.length; i++) raw[i] = (raw[i] as number) & 1;
  return tensor(dtype, shape, new array(raw.buffer as never) as never) as AnyTensor;
}

/** What a row is made of, bit by bit: NaNs of any pattern are equal to themselves. */
function contentOf({ values, dtype }: AnyTensor): string[] {
  if (dtype === "string") return (values as Uint8Array[]).map((value) => Buffer.from(value).toString("hex"));
  const { buffer, byteOffset, byteLength } = values as Uint8Array;
  return [Buffer.from(buffer, byteOffset, byteLength).toString("hex")];
}

/** The tensor that somebody builds who has all rows in one list. */
function concatenated(pieces: readonly AnyTensor[]): AnyTensor {
  const [first] = pieces as [AnyTensor];
  const shape = [pieces.reduce((rows, piece) => rows + (piece.shape[0] as number), 0), ...first.shape.slice(1)];
  if (first.dtype === "string")
    return tensor(
      "string",
      shape,
      pieces.flatMap((piece) => [...(piece.values as Uint8Array[])]),
    );
  const bytes = Buffer.concat(pieces.map(({ values }) => new Uint8Array((values as Uint8Array).buffer.slice(0))));
  return tensor(first.dtype, shape, new dtypes[first.dtype].array(new Uint8Array(bytes).buffer) as never) as AnyTensor;
}

function encode(source: AnyTensor): Uint8Array {
  const target = new Uint8Array(encodedTensorSize(source) + 5);
  expect(encodeTensor(source, target, 5)).toBe(target.length);
  return target.subarray(5);
}

const joinCases = dtypeNames.flatMap((dtype) => trailing.map(({ rest, perRow }) => ({ dtype, rest, perRow })));

describe("joinRows", () => {
  it.each(joinCases)("makes the bytes of $dtype [?, $rest] that one tensor of all rows makes", ({ dtype, rest, perRow }) => {
    const random = new Random(dtypes[dtype].wire);
    const pieces = [2, 0, 1, 3].map((rows) => randomRows(dtype, rows, rest, random));
    const joined = joinRows(pieces);
    const whole = concatenated(pieces);
    expect(joined).toMatchObject({ dtype, shape: [6, ...rest], size: 6 * perRow });
    const bytes = encode(joined);
    expect(Buffer.from(bytes).equals(encode(whole))).toBe(true);

    const proto = TensorProto.decode(bytes);
    expect(proto.dtype).toBe(dtypes[dtype].wire);
    expect(proto.tensorShape?.dim.map(({ size }) => Number(size))).toEqual([6, ...rest]);
    if (dtype === "string") expect(proto.stringVal.map((value) => Buffer.from(value).toString("hex"))).toEqual(contentOf(whole));
    else expect([Buffer.from(proto.tensorContent).toString("hex")]).toEqual(contentOf(whole));

    const back = decodeTensor(new WireReader(bytes), "joined", expansionBudget());
    expect([back.shape, contentOf(back)]).toEqual([joined.shape, contentOf(whole)]);
  });

  it.each(joinCases)("has the values of all rows of $dtype [?, $rest]", ({ dtype, rest }) => {
    const random = new Random(dtypes[dtype].wire);
    const pieces = [1, 0, 2].map((rows) => randomRows(dtype, rows, rest, random));
    const joined = joinRows(pieces);
    expect(contentOf(joined)).toEqual(contentOf(concatenated(pieces)));
    expect(joined.values.constructor).toBe(dtypes[dtype].array);
  });

  it("joins the values when they are asked for, and once", () => {
    const pieces = [tensor("float32", [1, 2], [1, 2]), tensor("float32", [1, 2], [3, 4])];
    const joined = joinRows(pieces);
    pieces[0]?.values.set([9], 0);
    expect(joined.values).toEqual(Float32Array.of(9, 2, 3, 4));
    expect(joined.values).toBe(joined.values);
    expect(joined.toNested()).toEqual([
      [9, 2],
      [3, 4],
    ]);
  });

  it("is encoded without the values being joined", () => {
    const joined = joinRows([tensor("int32", [1], [1]), tensor("int32", [2], [2, 3])]);
    const values = vi.fn(() => Int32Array.of());
    Object.defineProperty(joined, "values", { get: values });
    encode(joined);
    expect(values).not.toHaveBeenCalled();
  });

  it("tells its pieces, which other tensors do not have", () => {
    const pieces = [tensor("int8", [1], [1]), tensor("int8", [1], [2])];
    expect(piecesOf(joinRows(pieces))).toBe(pieces);
    expect(piecesOf(pieces[0] as AnyTensor)).toBeUndefined();
  });

  it("gives a single tensor back as it is", () => {
    const only = tensor("int8", [2], [1, 2]);
    expect(joinRows([only])).toBe(only);
  });

  it("joins what was joined", () => {
    const pieces = [1, 2, 3].map((value) => tensor("int16", [1], [value]));
    const joined = joinRows([joinRows(pieces.slice(0, 2)), pieces[2] as AnyTensor]);
    expect(Buffer.from(encode(joined)).equals(encode(tensor("int16", [3], [1, 2, 3])))).toBe(true);
  });

  it("takes rows out of larger memory", () => {
    const memory = Float64Array.of(0, 1, 2, 3, 4, 5);
    const joined = joinRows([tensor("float64", [2], memory.subarray(1, 3)), tensor("float64", [1], memory.subarray(5))]);
    expect(Buffer.from(encode(joined)).equals(encode(tensor("float64", [3], [1, 2, 5])))).toBe(true);
    expect(joined.values).toEqual(Float64Array.of(1, 2, 5));
  });
});

describe("copyRows", () => {
  it.each(joinCases)("gives each part of $dtype [?, $rest] back that was joined", ({ dtype, rest, perRow }) => {
    const random = new Random(dtypes[dtype].wire);
    const pieces = [2, 0, 1, 3].map((rows) => randomRows(dtype, rows, rest, random));
    const whole = concatenated(pieces);
    let start = 0;
    for (const piece of pieces) {
      const end = start + (piece.shape[0] as number);
      const copy = copyRows(whole, start, end);
      expect(copy).toMatchObject({ dtype, shape: piece.shape, size: (end - start) * perRow });
      expect(contentOf(copy)).toEqual(contentOf(piece));
      expect(copy.values.constructor).toBe(dtypes[dtype].array);
      start = end;
    }
  });

  it.each(dtypeNames.filter((dtype) => dtype !== "string"))("makes memory of its own for %s", (dtype) => {
    const source = randomRows(dtype, 3, [2], new Random(1)) as Tensor<"uint8">;
    const copy = copyRows(source, 1, 3) as Tensor<"uint8">;
    expect(copy.values.buffer).not.toBe(source.values.buffer);
    expect(copy.values.buffer.byteLength).toBe(4 * dtypes[dtype].bytes);
  });

  it("makes memory of its own out of a Buffer, whose slice would be a view", () => {
    const memory = Buffer.from([1, 2, 3, 4]);
    const copy = copyRows(tensor("uint8", [4], memory), 1, 3) as Tensor<"uint8">;
    memory.fill(9);
    expect(copy.values).toEqual(Uint8Array.of(2, 3));
    expect(copy.values.buffer.byteLength).toBe(2);
  });

  it("makes a list of its own for strings", () => {
    const source = tensor("string", [3], ["a", "b", "c"]) as Tensor<"string">;
    const copy = copyRows(source, 1, 3) as Tensor<"string">;
    source.values.fill(new Uint8Array());
    expect(copy.strings()).toEqual(["b", "c"]);
  });

  it("gives no rows where none are asked for, also of a tensor without rows", () => {
    expect(copyRows(tensor("int32", [2, 3], new Int32Array(6)), 2, 2)).toMatchObject({ shape: [0, 3], size: 0, values: new Int32Array() });
    expect(copyRows(tensor("int32", [0, 3], []), 0, 0)).toMatchObject({ shape: [0, 3], size: 0, values: new Int32Array() });
  });
});

describe("rejects", () => {
  const source = tensor("int32", [2, 3], new Int32Array(6));

  it.each([
    [-1, 1],
    [1, 0],
    [0, 3],
    [3, 3],
    [Number.NaN, 1],
    [0, Number.NaN],
  ])("rows %s to %s of a tensor with two", (start, end) => {
    expect(() => copyRows(source, start, end)).toThrow(`expected rows ${start} to ${end} in a tensor of shape [2, 3]`);
  });

  it("rows of a scalar", () => {
    expect(() => copyRows(tensor("int32", [], [1]), 0, 1)).toThrow("expected rows 0 to 1 in a tensor of shape []");
  });

  it("a join of nothing", () => {
    expect(() => joinRows([])).toThrow("expected at least one tensor to join, got none");
  });
});
