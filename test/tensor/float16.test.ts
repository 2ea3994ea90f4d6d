import { describe, expect, it } from "vitest";
import { bfloat16FromNumber, float16FromNumber, numberFromBfloat16, numberFromFloat16 } from "../../src/tensor/float16.js";

const half = { name: "float16", encode: float16FromNumber, decode: numberFromFloat16, infinity: 0x7c00 };
const brain = { name: "bfloat16", encode: bfloat16FromNumber, decode: numberFromBfloat16, infinity: 0x7f80 };

describe.each([half, brain])("$name", ({ encode, decode, infinity }) => {
  it("gives back the bits of every number there is", () => {
    const wrong: number[] = [];
    for (let bits = 0; bits <= 0xffff; bits++) {
      if (Number.isNaN(decode(bits))) {
        if ((bits & 0x7fff) <= infinity) wrong.push(bits);
      } else if (encode(decode(bits)) !== bits) wrong.push(bits);
    }
    expect(wrong).toEqual([]);
  });

  it("rounds halfway to even and everything else to nearest, between all neighbours", () => {
    const wrong: number[] = [];
    for (let bits = 0; bits < infinity - 1; bits++) {
      const low = decode(bits);
      const high = decode(bits + 1);
      const middle = (low + high) / 2;
      const nudge = (high - low) / 1024;
      const even = bits % 2 === 0 ? bits : bits + 1;
      if (encode(middle) !== even || encode(middle - nudge) !== bits || encode(middle + nudge) !== bits + 1) wrong.push(bits);
      if (encode(-middle) !== (even | 0x8000)) wrong.push(-bits);
    }
    expect(wrong).toEqual([]);
  });

  it("keeps infinities, the sign of zero, and NaN", () => {
    expect(encode(Number.POSITIVE_INFINITY)).toBe(infinity);
    expect(encode(Number.NEGATIVE_INFINITY)).toBe(infinity | 0x8000);
    expect(encode(-0)).toBe(0x8000);
    expect(decode(0x8000)).toBe(-0);
    expect(decode(encode(Number.NaN))).toBeNaN();
  });

  it("overflows to infinity and underflows to zero", () => {
    expect(encode(Number.MAX_VALUE)).toBe(infinity);
    expect(encode(-Number.MAX_VALUE)).toBe(infinity | 0x8000);
    expect(encode(Number.MIN_VALUE)).toBe(0);
    expect(encode(-Number.MIN_VALUE)).toBe(0x8000);
  });
});

describe("float16FromNumber", () => {
  it.each([
    { value: 1, bits: 0x3c00 },
    { value: 65504, bits: 0x7bff },
    { value: 65519.99, bits: 0x7bff },
    { value: 65520, bits: 0x7c00 },
    { value: 2 ** -25, bits: 0 },
    { value: 1.0001 * 2 ** -25, bits: 1 },
    { value: 0.1, bits: 0x2e66 },
  ])("makes $bits of $value", ({ value, bits }) => {
    expect(float16FromNumber(value)).toBe(bits);
  });

  it("rounds once: a double just above the middle does not first become the middle", () => {
    expect(float16FromNumber(1 + 2 ** -11 + 2 ** -40)).toBe(0x3c01);
  });
});
