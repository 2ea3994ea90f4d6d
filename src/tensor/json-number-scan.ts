/**
 * Numbers in JSON bytes, one behind the other.
 *
 * Takes what the server's grammar allows and throws {@link notRegular} for everything else: the general parser words errors.
 */
import { powersOfTen } from "./powers-of-ten.js";

/** Thrown, without the cost of a stack, where the general parser has to take over. */
export const notRegular = Symbol("not a regular list of numbers");

const maxExactPower = 22;

/** Digits that a double holds exactly, whatever they are. */
const maxExactDigits = 15;

const fourSpaces = 0x20202020;
const fourZeros = 0x30303030;

const plus = 0x2b;
const comma = 0x2c;
const minus = 0x2d;
const point = 0x2e;
const zero = 0x30;
const closeBracket = 0x5d;
const upperN = 0x4e;
const lowerE = 0x65;
const lowerI = 0x69;

/** A position in JSON bytes that moves on with everything read. */
export class NumberScanner {
  at: number;
  /** Whether the last {@link number} had neither a point nor an exponent. */
  isWhole = false;
  /** Whether the last {@link decimals} came to the end of the list. */
  isClosed = false;

  readonly #bytes: Uint8Array;
  /** The same bytes, for their text. */
  readonly #buffer: Buffer;
  readonly #view: DataView;

  constructor(bytes: Uint8Array, start: number) {
    this.at = start;
    this.#bytes = bytes;
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** The next byte that is not blank; 0 at the end. */
  peek(): number {
    this.at = skipBlanks(this.#bytes, this.#view, this.at);
    return this.#bytes[this.at] ?? 0;
  }

  /** Step over a comma (true) or a closing bracket (false). */
  hasNext(): boolean {
    const byte = this.peek();
    this.at++;
    if (byte === comma) return true;
    if (byte === closeBracket) return false;
    throw notRegular;
  }

  /**
   * Fill an array with the plain decimals that come next, such as `-0.25`, and step over the commas behind them and the closing bracket.
   *
   * The loop that large answers spend their time in: everything stays in variables, which takes a fifth off the whole. It ends, without an
   * error, in front of the first element of another form, for {@link number} to read, or at the end of the array.
   *
   * @param from - The first index to fill.
   * @returns The index behind the last one filled.
   */
  decimals(values: Float32Array | Float64Array, from: number): number {
    const bytes = this.#bytes;
    const view = this.#view;
    const lastWord = view.byteLength - 4;
    let count = from;
    let end = this.at;
    let isClosed = false;
    while (count < values.length && !isClosed) {
      let at = skipBlanks(bytes, view, end);
      let byte = bytes[at] ?? 0;
      const isNegative = byte === minus;
      if (isNegative) byte = bytes[++at] ?? 0;
      const first = at;
      let digits = 0;
      for (; isDigit(byte); byte = bytes[++at] ?? 0) digits = 10 * digits + byte - zero;
      if (byte !== point || at === first || (at > first + 1 && bytes[first] === zero)) break;
      const fraction = ++at;
      for (; at <= lastWord; at += 4) {
        const word = view.getInt32(at, true) ^ fourZeros;
        if (!isFourDigits(word)) break;
        digits = 10_000 * digits + fourDigits(word);
      }
      for (byte = bytes[at] ?? 0; isDigit(byte); byte = bytes[++at] ?? 0) digits = 10 * digits + byte - zero;
      const decimals = at - fraction;
      if (decimals === 0 || fraction - 1 - first + decimals > maxExactDigits) break;
      if (isBlank(byte)) {
        at = skipBlanks(bytes, view, at);
        byte = bytes[at] ?? 0;
      }
      isClosed = byte === closeBracket;
      if (!isClosed && byte !== comma) break;
      // Both are exact, so that the quotient is correctly rounded (Clinger's fast path).
      const value = digits / (powersOfTen[decimals] as number);
      values[count++] = isNegative ? -value : value;
      end = at + 1;
    }
    this.at = end;
    this.isClosed = isClosed;
    return count;
  }

  /** The number here, correctly rounded. */
  number(): number {
    const bytes = this.#bytes;
    let byte = this.peek();
    const start = this.at;
    let at = start;
    const isNegative = byte === minus;
    if (isNegative) byte = bytes[++at] ?? 0;
    const first = at;
    let digits = 0;
    if (byte === zero) byte = bytes[++at] ?? 0;
    else for (; isDigit(byte); byte = bytes[++at] ?? 0) digits = 10 * digits + byte - zero;
    if (at === first) return this.#nanOrInfinity(at, isNegative);
    let digitCount = at - first;
    let exponent = 0;
    let isWhole = true;
    if (byte === point) {
      isWhole = false;
      const fraction = ++at;
      for (byte = bytes[at] ?? 0; isDigit(byte); byte = bytes[++at] ?? 0) digits = 10 * digits + byte - zero;
      exponent = fraction - at;
      if (exponent === 0) throw notRegular;
      digitCount -= exponent;
    }
    this.at = at;
    if ((byte | 0x20) === lowerE) {
      isWhole = false;
      exponent += this.#exponent();
    }
    this.isWhole = isWhole;
    if (digitCount > maxExactDigits || exponent > maxExactPower || exponent < -maxExactPower) return this.#numberFromText(start);
    let value = digits;
    if (exponent < 0) value /= powersOfTen[-exponent] as number;
    else if (exponent > 0) value *= powersOfTen[exponent] as number;
    // The whole number -0 has no sign, as in the general parser and in the server.
    return isNegative && !(isWhole && value === 0) ? -value : value;
  }

  /** The exponent that begins here with its letter; may be infinite. */
  #exponent(): number {
    const bytes = this.#bytes;
    let at = this.at + 1;
    const sign = bytes[at];
    if (sign === plus || sign === minus) at++;
    const first = at;
    let exponent = 0;
    for (let byte = bytes[at] ?? 0; isDigit(byte); byte = bytes[++at] ?? 0) exponent = 10 * exponent + byte - zero;
    if (at === first) throw notRegular;
    this.at = at;
    return sign === minus ? -exponent : exponent;
  }

  /** The number between a position and the current one, by JavaScript's own conversion. */
  #numberFromText(start: number): number {
    const value = Number(this.text(start));
    if (!Number.isFinite(value)) throw notRegular;
    return value;
  }

  /** The text between a position and the current one. */
  text(start: number): string {
    return this.#buffer.toString("latin1", start, this.at);
  }

  #nanOrInfinity(at: number, isNegative: boolean): number {
    this.at = at;
    this.isWhole = false;
    if (this.#bytes[at] === upperN) {
      this.word("NaN");
      return Number.NaN;
    }
    this.word("Inf");
    if (this.#bytes[this.at] === lowerI) this.word("inity");
    return isNegative ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  }

  /** Step over a word. */
  word(word: string): void {
    for (let i = 0; i < word.length; i++) {
      if (this.#bytes[this.at++] !== word.charCodeAt(i)) throw notRegular;
    }
  }
}

/** The next position of a byte that is not blank. */
function skipBlanks(bytes: Uint8Array, view: DataView, start: number): number {
  const lastWord = view.byteLength - 4;
  let at = start;
  while (isBlank(bytes[at] ?? 0)) {
    at++;
    // Columns have each number on a line of its own, deep below the margin: half of such an answer is spaces.
    while (at <= lastWord && view.getInt32(at) === fourSpaces) at += 4;
  }
  return at;
}

function isBlank(byte: number): boolean {
  return byte <= 0x20 && (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09);
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

/** Whether the bytes of a word were digits before `fourZeros` was taken off: 0 to 9, so that neither they nor they plus 6 go beyond 15. */
function isFourDigits(word: number): boolean {
  return ((word | (word + 0x06060606)) & 0xf0f0f0f0) === 0;
}

/** The number that four such digits make, the first in the lowest byte: pairs side by side, then both of them. */
function fourDigits(word: number): number {
  const pairs = Math.imul(word, 10) + (word >>> 8);
  return (pairs & 0xff) * 100 + ((pairs >>> 16) & 0xff);
}
