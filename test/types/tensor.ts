/** Compile-time tests: tsc checks this file, nothing runs it. */
import type { DType } from "../../src/tensor/dtype.js";
import { type AnyTensor, type Nested, type Tensor, type TensorLike, tensor, tensorFrom, toFloat32 } from "../../src/tensor/tensor.js";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
declare function same<A, B>(answer: Same<A, B>): void;

declare const any: AnyTensor;
declare const dtype: DType;

export function valuesFollowTheDType(): void {
  const longs = tensor("int64", [2], [1n, 2n]);
  same<typeof longs, Tensor<"int64">>(true);
  same<typeof longs.values, BigInt64Array>(true);
  same<typeof longs.dtype, "int64">(true);
  const floats: Float32Array = tensor("float32", [1], [1]).values;
  const halves: Uint16Array = tensor("float16", [1], Float32Array.of(1)).values;
  const texts: Uint8Array[] = tensor("string", [2], ["a", Buffer.from("b")]).values;
  const doubles: Float64Array = tensor("complex128", [1], new Float64Array(2)).values;
  const quantized: Int32Array = tensor("qint32", [1], new Int32Array(1)).values;
  // @ts-expect-error int64 values are bigints
  const wrong: Int32Array = longs.values;
  same<ReturnType<typeof longs.toNested>, Nested<bigint>>(true);
  void [floats, halves, texts, doubles, quantized, wrong];
}

export function wrongValuesDoNotCompile(): void {
  // @ts-expect-error strings are no float32 values
  tensor("float32", [1], ["a"]);
  // @ts-expect-error a Float64Array is no float32 array
  tensor("float32", [1], new Float64Array(1));
  // @ts-expect-error booleans, not numbers
  tensor("bool", [1], [1]);
  // @ts-expect-error quantized values only as their typed array
  tensor("qint8", [1], [1]);
  // @ts-expect-error re and im only as a typed array
  tensor("complex64", [1], [1, 2]);
  // @ts-expect-error bigints do not fit int32
  tensor("int32", [1], [1n]);
  // @ts-expect-error no such dtype
  tensor("float", [1], [1]);
  // @ts-expect-error no tensor has this dtype
  tensor("resource", [], []);
}

export function allowedValuesCompile(): void {
  tensor("int64", [3], [1n, 2, { low: 3, high: 0, unsigned: false }]);
  tensor("uint8", [1], Buffer.from([1]));
  tensor("float32", [1], new Float32Array(new SharedArrayBuffer(4)));
  tensor("int4", [2] as const, [1, 2] as const);
}

export function dtypeNarrows(): void {
  if (any.dtype === "float32") same<typeof any.values, Float32Array>(true);
  if (any.dtype === "uint64") same<typeof any.values, BigUint64Array>(true);
  // @ts-expect-error which array it is is not known yet
  const floats: Float32Array = any.values;
  same<Tensor<"bool">, ReturnType<typeof narrowed>>(true);
  const made: AnyTensor = tensor(dtype, [], []);
  if (any.dtype === "bfloat16" || any.dtype === "float16") toFloat32(any);
  // @ts-expect-error float32 needs no conversion
  toFloat32(tensor("float32", [], [1]));
  void [floats, made];
}

function narrowed() {
  return any.as("bool");
}

export function plainValues(): void {
  const like: TensorLike[] = [
    1,
    2n,
    true,
    "a",
    [1, [2]],
    new Uint8Array(1),
    new BigInt64Array(1),
    any,
    tensor("int8", [], [1]),
    [["a"]] as const,
  ];
  same<ReturnType<typeof fromNested>, Tensor<"int32">>(true);
  // @ts-expect-error objects are no elements
  tensorFrom({});
  // @ts-expect-error null is no element
  tensorFrom([null]);
  void like;
}

function fromNested() {
  return tensorFrom([[1, 2]], "int32");
}
