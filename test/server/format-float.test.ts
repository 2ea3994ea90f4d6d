import { describe, expect, it } from "vitest";
import { formatFloat, formatG } from "../../src/server/format-float.js";

/** C's `%.{precision - 1}e` of a finite double that is not 0, by whole numbers of any size. */
function exactExponential(value: number, precision: number): { digits: string; exponent: number } {
  const bits = new BigUint64Array(Float64Array.of(Math.abs(value)).buffer)[0] as bigint;
  const biased = Number(bits >> 52n);
  const mantissa = (bits & (2n ** 52n - 1n)) | (biased === 0 ? 0n : 2n ** 52n);
  const power = Math.max(biased, 1) - 1075;
  const top = power > 0 ? mantissa << BigInt(power) : mantissa;
  const bottom = power > 0 ? 1n : 1n << BigInt(-power);
  for (let exponent = Math.floor(Math.log10(Math.abs(value))) - 1; ; exponent++) {
    const shift = precision - 1 - exponent;
    const scaledTop = shift > 0 ? top * 10n ** BigInt(shift) : top;
    const scaledBottom = shift > 0 ? bottom : bottom * 10n ** BigInt(-shift);
    const whole = scaledTop / scaledBottom;
    const twiceRest = 2n * (scaledTop % scaledBottom);
    const up = twiceRest > scaledBottom || (twiceRest === scaledBottom && whole % 2n === 1n);
    const digits = String(up ? whole + 1n : whole);
    if (digits.length === precision) return { digits, exponent };
  }
}

/** C's `%.{precision}g`. */
function exactG(value: number, precision: number): string {
  const { digits, exponent } = exactExponential(value, precision);
  const sign = value < 0 ? "-" : "";
  const withPoint = (at: number) => `${digits.slice(0, at)}.${digits.slice(at)}`.replace(/\.?0*$/, "");
  if (exponent >= 0 && exponent < precision) return sign + withPoint(exponent + 1);
  if (exponent < 0 && exponent >= -4) return `${sign}0.${"0".repeat(-exponent - 1)}${digits.replace(/0+$/, "")}`;
  return `${sign}${withPoint(1)}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

describe("formatFloat", () => {
  it.each([
    [2 ** -13, 9, "0.000122070312"],
    [3 * 2 ** -13, 9, "0.000366210938"],
    [-(2 ** -13), 9, "-0.000122070312"],
    [1 + 2 ** -17, 17, "1.0000076293945312"],
    [0.1, 17, "0.1"],
    [0.1 + 0.2, 17, "0.30000000000000004"],
    [Math.fround(0.1), 9, "0.1"],
    [1e-5, 17, "1e-05"],
    [1 / 3e5, 17, "3.3333333333333333e-06"],
    [123456, 9, "123456"],
    [1234567, 9, "1234567"],
    [1e9, 9, "1e+09"],
    [-0, 9, "-0"],
    [Number.NaN, 9, "NaN"],
    [Number.NEGATIVE_INFINITY, 17, "-Infinity"],
  ] as const)("prints %d with %d digits as %s", (value, digits, text) => {
    expect(formatFloat(value, digits)).toBe(text);
  });
});

describe("formatG", () => {
  const powers = Array.from({ length: 2_000 }, (_, index) => 2 ** ((index % 400) - 200) * (1 + 2 * Math.floor(index / 400)));
  const halves = Array.from({ length: 2_000 }, (_, index) => (index * 7_919 + 100_000.5) * (index % 2 === 0 ? 1 : -1));
  const extremes = [Number.MIN_VALUE, Number.MAX_VALUE, 2 ** -1022, 9.999995, 99999.95, 999999.5, 9999999.5, 0.00009999995, 0.5, 2.5];

  it.each([6, 9, 17])("rounds to %d digits as exact arithmetic does, ties to the even digit", (precision) => {
    for (const value of [...powers, ...halves, ...extremes]) expect(formatG(value, precision)).toBe(exactG(value, precision));
  });
});
