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
  const [mantissa = "", power = ""] = value.toExponential(precision - 1).split("e");
  const exponent = Number(power);
  if (exponent >= -4 && exponent < precision) return trimZeros(value.toFixed(precision - 1 - exponent));
  return `${trimZeros(mantissa)}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

function trimZeros(text: string): string {
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}
