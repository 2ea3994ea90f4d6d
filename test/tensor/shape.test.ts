import { describe, expect, it } from "vitest";
import { elementCount, formatShape, shapeFits, shapesEqual } from "../../src/tensor/shape.js";
import { errorFrom } from "../support/error-from.js";

describe("elementCount", () => {
  const large = 2 ** 40;
  it.each([
    { shape: [], count: 1 },
    { shape: [3], count: 3 },
    { shape: [2, 3, 4], count: 24 },
    { shape: [3, 0, 2], count: 0 },
    { shape: [0, large, large], count: 0 },
    { shape: [large, 2 ** 20, 0], count: 0 },
    { shape: new Array(254).fill(1), count: 1 },
  ])("counts $shape", ({ shape, count }) => {
    expect(elementCount(shape)).toBe(count);
  });

  it.each([
    { name: "a negative dimension", shape: [2, -3], text: "shape [2, -3]: dimension 1 is -3, expected a whole number from 0 to 2^53 - 1" },
    { name: "a fraction", shape: [1.5], text: "shape [1.5]: dimension 0 is 1.5, expected a whole number from 0 to 2^53 - 1" },
    { name: "NaN", shape: [Number.NaN], text: "shape [NaN]: dimension 0 is NaN, expected a whole number from 0 to 2^53 - 1" },
    { name: "rank 255", shape: new Array(255).fill(1), text: "shape has rank 255, expected at most 254" },
    { name: "a count beyond int64 before a zero", shape: [large, large, 0], text: `shape [${large}, ${large}, 0] has too many elements` },
    { name: "a count that is not a safe integer", shape: [large, 2 ** 20], text: `shape [${large}, 1048576] has too many elements` },
  ])("refuses $name", ({ shape, text }) => {
    expect(errorFrom(() => elementCount(shape))).toMatchObject({ name: "TensorError", code: "INVALID_ARGUMENT", message: text });
  });
});

describe("formatShape", () => {
  it.each([
    { shape: [], text: "[]" },
    { shape: [null, 224, 3], text: "[?, 224, 3]" },
    { shape: null, text: "unknown rank" },
  ])("prints $text", ({ shape, text }) => {
    expect(formatShape(shape)).toBe(text);
  });
});

describe("shapesEqual", () => {
  it.each([
    { a: [], b: [], equal: true },
    { a: [2, 3], b: [2, 3], equal: true },
    { a: [2, 3], b: [3, 2], equal: false },
    { a: [2, 3], b: [2, 3, 1], equal: false },
    { a: [2], b: [], equal: false },
  ])("compares $a with $b", ({ a, b, equal }) => {
    expect(shapesEqual(a, b)).toBe(equal);
  });
});

describe("shapeFits", () => {
  it.each([
    { shape: [2, 3], spec: null, fits: true },
    { shape: [2, 3], spec: [null, 3], fits: true },
    { shape: [0, 3], spec: [null, 3], fits: true },
    { shape: [2, 4], spec: [null, 3], fits: false },
    { shape: [3], spec: [null, 3], fits: false },
    { shape: [1, 2, 3], spec: [null, 3], fits: false },
    { shape: [], spec: [], fits: true },
    { shape: [1], spec: [], fits: false },
  ])("$shape against $spec is $fits", ({ shape, spec, fits }) => {
    expect(shapeFits(shape, spec)).toBe(fits);
  });
});
