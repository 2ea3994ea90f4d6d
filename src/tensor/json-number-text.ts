/** Numbers -> their JSON text, written as bytes: no string per number on the way. */
import { powersOfTen } from "./powers-of-ten.js";

/** Room that one number may need: a double has at most 25 characters. */
export const maxNumberBytes = 28;

const minus = 0x2d;
const point = 0x2e;
const zero = 0x30;

/** "00" to "99" in a row: two digits at a time halve the divisions. */
const digitPairs = Uint8Array.from({ length: 200 }, (_, i) => zero + (i % 2 === 0 ? Math.floor(i / 20) : (i >> 1) % 10));

/** 10^0 to 10^9 as int32s, which `Math.imul` multiplies without a detour over doubles. */
const int32Powers = Int32Array.from({ length: 10 }, (_, exponent) => 10 ** exponent);

/** Bits of a float32 below its exponent. */
const mantissaBits = 23;
const exponentBias = 127;

/** Floats outside are rare enough to go through JavaScript's own conversions; from 2^23 on they are whole. */
const minFast = 1e-6;
const maxFast = 1e7;
const minNormal = 2 ** -126;

/**
 * By the exponent of a float32 from `minFast` to `maxFast`: how many decimals make it a whole number above 2^24, so that neighbours lie more
 * than 2 apart and rounding to whole numbers tells all of them from each other.
 */
const decimalsByExponent = Uint8Array.from({ length: exponentBias + mantissaBits + 1 }, (_, biased) => {
  const power = 2 ** (biased - exponentBias);
  return power < minFast / 2 ? 0 : powersOfTen.findIndex((scale) => power * scale > 2 ** 24);
});

/** With that many decimals: half the way to the next float32. What lies nearer than this reads back as the same float32. */
const halfGapByExponent = Float64Array.from(
  decimalsByExponent,
  (decimals, biased) => 2 ** (biased - exponentBias - mantissaBits - 1) * 10 ** decimals,
);

/** Parts of half a gap up to which a distance is surely, and from which it is surely not, small enough despite rounding. */
const surelyWithin = 0.999;
const surelyBeyond = 1.001;

/** Digits behind the point that are written in one go; so many fit an int32. */
const fractionWidth = 9;

/**
 * Write a float32 as the shortest decimal that narrows to it.
 *
 * @param target - With room for `maxNumberBytes`: what stands behind the text may change.
 * @param view - The same memory.
 * @param bits - The float32 as an int32.
 * @returns The position behind the text.
 */
export function writeFloat32(target: Uint8Array, view: DataView, start: number, value: number, bits: number): number {
  const magnitude = Math.abs(value);
  if (!(magnitude >= minFast && magnitude < maxFast) || (magnitude | 0) === magnitude) return writeRareFloat32(target, start, value);
  const exponent = (bits >>> mantissaBits) & 0xff;
  // Below a power of two the floats lie twice as dense: there only the check by reading back is sure.
  const sure = (bits & 0x7fffff) === 0 ? surelyWithin / 2 : surelyWithin;
  let decimals = decimalsByExponent[exponent] as number;
  let halfGap = halfGapByExponent[exponent] as number;
  let scaled = magnitude * (powersOfTen[decimals] as number);
  let digits = (scaled + 0.5) | 0;
  // One digit less at a time, as long as the nearest such decimal is near enough.
  while (decimals > 1) {
    scaled *= 0.1;
    halfGap *= 0.1;
    const shorter = (scaled + 0.5) | 0;
    const distance = Math.abs(shorter - scaled);
    if (distance > sure * halfGap) {
      if (distance > surelyBeyond * halfGap) break;
      if (Math.fround(shorter / (powersOfTen[decimals - 1] as number)) !== magnitude) break;
    }
    digits = shorter;
    decimals--;
  }
  // Whole numbers are float32s themselves: no decimal of another one lies on, or beyond, the next of them.
  const whole = magnitude | 0;
  let at = start;
  if (value < 0) target[at++] = minus;
  if (whole === 0) target[at++] = zero;
  else {
    at = writeDigits(target, at, whole, digitCount(whole));
    digits -= Math.imul(whole, int32Powers[decimals] as number);
  }
  target[at++] = point;
  const end = at + decimals;
  // Only in front of fractions that begin with zeros.
  for (; decimals > fractionWidth; decimals--) target[at++] = zero;
  writeFraction(target, view, at, Math.imul(digits, int32Powers[fractionWidth - decimals] as number));
  return end;
}

/** Always all nine digits, the zeros at the end to be overwritten: how many there are is the guess that processors get wrong most. */
function writeFraction(target: Uint8Array, view: DataView, at: number, billionths: number): void {
  const first = (billionths / 100_000) | 0;
  const rest = billionths - Math.imul(first, 100_000);
  const second = (rest / 10) | 0;
  view.setInt32(at, fourDigits(first), true);
  view.setInt32(at + 4, fourDigits(second), true);
  target[at + 8] = zero + rest - Math.imul(second, 10);
}

/** The text of a number below 10 000 as a word, the first digit in the lowest byte: pairs side by side, then digits; shifts divide by 100 and 10. */
function fourDigits(value: number): number {
  const hundreds = Math.imul(value, 5243) >>> 19;
  const pairs = hundreds | ((value - Math.imul(hundreds, 100)) << 16);
  const tens = (Math.imul(pairs, 103) >>> 10) & 0x000f000f;
  return (tens | ((pairs - Math.imul(tens, 10)) << 8)) + 0x30303030;
}

/** Whole, tiny, huge and special values. */
function writeRareFloat32(target: Uint8Array, start: number, value: number): number {
  if (value !== 0 && Math.abs(value) < maxFast && Number.isInteger(value)) return writeInteger(target, start, value);
  return writeText(target, start, float32Text(value));
}

function float32Text(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return float64Text(value);
  // Every normal float32 keeps 6 digits and is told from all others by 9.
  for (let digits = Math.abs(value) < minNormal ? 1 : 6; digits < 9; digits++) {
    const rounded = Number(value.toPrecision(digits));
    if (Math.fround(rounded) === value) return String(rounded);
  }
  return String(Number(value.toPrecision(9)));
}

/** Write a double as the shortest decimal that reads back equal. */
export function writeFloat64(target: Uint8Array, start: number, value: number): number {
  return writeText(target, start, float64Text(value));
}

/** JavaScript prints the shortest text, but loses the sign of zero; the server would lose that of a whole -0. */
function float64Text(value: number): string {
  return Object.is(value, -0) ? "-0.0" : String(value);
}

/** Write a whole number of at most 64 bits. */
export function writeInteger(target: Uint8Array, start: number, value: number | bigint): number {
  const magnitude = Math.abs(Number(value));
  if (magnitude >= 2 ** 31) return writeText(target, start, String(value));
  let at = start;
  if (value < 0) target[at++] = minus;
  return writeDigits(target, at, magnitude, digitCount(magnitude));
}

/** Write text of ASCII characters only. */
export function writeText(target: Uint8Array, start: number, text: string): number {
  for (let i = 0; i < text.length; i++) target[start + i] = text.charCodeAt(i);
  return start + text.length;
}

/** A whole number from 0 to 2^31 - 1, with zeros in front up to `width`. */
function writeDigits(target: Uint8Array, start: number, value: number, width: number): number {
  let left = value | 0;
  let at = start + width;
  while (at - start >= 2) {
    const hundreds = (left / 100) | 0;
    const pair = (left - hundreds * 100) << 1;
    left = hundreds;
    target[--at] = digitPairs[pair + 1] as number;
    target[--at] = digitPairs[pair] as number;
  }
  if (at > start) target[start] = zero + left;
  return start + width;
}

function digitCount(value: number): number {
  if (value < 10) return 1;
  let count = 2;
  while (count < 10 && value >= (powersOfTen[count] as number)) count++;
  return count;
}
