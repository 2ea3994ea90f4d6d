/**
 * IEEE 754 binary16 ("half", TensorFlow `DT_HALF`) and bfloat16 (`DT_BFLOAT16`: the upper half of a binary32) as 16-bit patterns.
 *
 * Numbers are rounded once, straight from float64, to nearest with ties to even; the largest values overflow to infinity.
 */

const doubleView = new DataView(new ArrayBuffer(8));
const floatView = new DataView(new ArrayBuffer(4));

/** The float16 bit pattern nearest to a number. */
export function float16FromNumber(value: number): number {
  return bitsFromNumber(value, 10, 15);
}

/** The bfloat16 bit pattern nearest to a number. */
export function bfloat16FromNumber(value: number): number {
  return bitsFromNumber(value, 7, 127);
}

/** The number a float16 bit pattern stands for; exact. */
export function numberFromFloat16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  if (exponent === 0x1f) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  return sign * (mantissa + 0x400) * 2 ** (exponent - 25);
}

/** The number a bfloat16 bit pattern stands for; exact. */
export function numberFromBfloat16(bits: number): number {
  floatView.setUint16(0, bits);
  return floatView.getFloat32(0);
}

/** The bit pattern of a 16-bit float with this many stored mantissa bits and this exponent bias. */
function bitsFromNumber(value: number, mantissaBits: number, bias: number): number {
  const infinity = (2 * bias + 1) << mantissaBits;
  if (Number.isNaN(value)) return infinity | (1 << (mantissaBits - 1));
  doubleView.setFloat64(0, value);
  const top = doubleView.getUint16(0);
  const sign = top & 0x8000;
  // Below the smallest normal number all values share its exponent: those are the subnormals.
  const exponent = Math.max(((top >>> 4) & 0x7ff) - 1023, 1 - bias);
  // Dividing by a power of two is exact, so this is the only rounding. A mantissa that rounds up past its width carries into the
  // exponent by the addition below, which also holds the implicit bit of normal numbers.
  const mantissa = roundToEven(Math.abs(value) / 2 ** (exponent - mantissaBits));
  return sign | Math.min(((exponent + bias - 1) << mantissaBits) + mantissa, infinity);
}

function roundToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}
