/** Numbers as C prints them with `%g`: in REST answers and on the metrics page. */

/**
 * A number in C's `%g`: 6 digits if they read back equal, else as many as the type needs.
 *
 * @param digits - 9 for float, 17 for double.
 */
export function formatFloat(value: number, digits: 9 | 17): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
  const short = formatG(value, 6);
  const back = digits === 9 ? Math.fround(Number(short)) : Number(short);
  return back === value ? short : formatG(value, digits);
}

/** A number in C's `%g` with this many digits. */
export function formatG(value: number, precision: number): string {
  if (value === 0) return Object.is(value, -0) ? "-0" : "0";
  if (value < 0) return `-${formatG(-value, precision)}`;
  const [mantissa = "", power = ""] = roundedToEven(value, precision).split("e");
  const exponent = Number(power);
  if (exponent < -4 || exponent >= precision) {
    return `${trimZeros(mantissa)}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
  }
  const digits = mantissa.charAt(0) + mantissa.slice(2);
  if (exponent < 0) return trimZeros(`0.${"0".repeat(-exponent - 1)}${digits}`);
  return trimZeros(`${digits.slice(0, exponent + 1)}.${digits.slice(exponent + 1)}`);
}

/** `toExponential(precision - 1)` for a precision of at least 2, but halfway between two numbers the one with the even digit, as in C. */
function roundedToEven(value: number, precision: number): string {
  const rounded = value.toExponential(precision - 1);
  // Halfway are only numbers whose last bit is that of half a unit of the last digit, which hardly any are: this costs less than digits.
  const exponent = Number(rounded.slice(rounded.indexOf("e") + 1));
  if (!Number.isInteger(value * 2 ** (precision - exponent))) return rounded;
  const longer = value.toExponential(precision);
  // It may itself be rounded; of the 101 digits that there are at most, an exact half has only zeros behind its 5.
  const isTie = /[02468]5e/.test(longer) && value.toExponential(100).replace(/0+e/, "e") === longer;
  return isTie ? longer.replace("5e", "e") : rounded;
}

function trimZeros(text: string): string {
  return text.includes(".") ? text.replace(/\.?0*$/, "") : text;
}
