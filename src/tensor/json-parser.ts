/**
 * JSON as TensorFlow Serving reads and writes it: RapidJSON with NaN and Infinity, iterative, stopping behind the first value.
 *
 * `JSON.parse` cannot take its place: answers hold bare NaN, 64-bit integers and strings that are not UTF-8.
 * The states and error texts are those of RapidJSON's iterative parser, so that the embedded server refuses with the real server's words.
 */
import { isUtf8 } from "node:buffer";
import { FormatError } from "../errors.js";

/** A JSON object; null prototype, the first of duplicate keys wins. */
export interface JsonObject {
  [key: string]: JsonValue;
}

/**
 * A parsed JSON value.
 *
 * Numbers without `.` and exponent that fit 64 bits are `bigint`, all others `number`; strings that are not valid UTF-8 are `Uint8Array`.
 */
export type JsonValue = null | boolean | number | bigint | string | Uint8Array | JsonValue[] | JsonObject;

/** Options of {@link JsonParser}. */
export interface JsonParserOptions {
  /** Objects with at least so many lists and objects around them keep the last of duplicate keys. @defaultValue none does */
  readonly lastWinsFromDepth?: number;
  /** How many lists and objects may stand in each other. @defaultValue no limit: the parser does not recurse */
  readonly maxDepth?: number;
  /**
   * May read a list that is a member of an object in the parser's stead.
   *
   * @param key - Name of the member.
   * @param depth - How many lists and objects stand around it, its own object included.
   * @param at - Position of the opening bracket.
   * @returns What to put in its place and the position behind it, or `undefined` to let the parser read it.
   */
  readonly readList?: (key: string, depth: number, at: number) => ReadList | undefined;
}

/** Answer of {@link JsonParserOptions.readList}. */
export interface ReadList {
  readonly value: JsonValue;
  readonly end: number;
}

const emptyDocument = "The document is empty.";
const invalidValue = "Invalid value.";
const missingName = "Missing a name for object member.";
const missingColon = "Missing a colon after a name of object member.";
const missingCommaOrBrace = "Missing a comma or '}' after an object member.";
const missingCommaOrBracket = "Missing a comma or ']' after an array element.";
const missingQuote = "Missing a closing quotation mark in string.";
const badHex = "Incorrect hex digit after \\u escape in string.";
const badSurrogate = "The surrogate pair in string is invalid.";
const badEscape = "Invalid escape character in string.";
const missingFraction = "Miss fraction part in number.";
const missingExponent = "Miss exponent in number.";
const numberTooBig = "Number too big to be stored in double.";

const quote = 0x22;
const comma = 0x2c;
const minus = 0x2d;
const point = 0x2e;
const colon = 0x3a;
const openBracket = 0x5b;
const backslash = 0x5c;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/** Letters behind a backslash and the bytes they stand for. */
const escapes: ReadonlyMap<number, number> = new Map(
  Object.entries({ '"': 0x22, "\\": 0x5c, "/": 0x2f, b: 8, f: 12, n: 10, r: 13, t: 9 }).map(([letter, byte]) => [
    letter.charCodeAt(0),
    byte,
  ]),
);

/** Whole numbers beyond 64 bits are doubles to RapidJSON; this many digits always fit. */
const safeDigits = 15;
const maxUint64Digits = 20;
const maxUint64 = 2n ** 64n - 1n;
const minInt64 = -(2n ** 63n);

/** A list or object that is still open. */
type Frame = { readonly list: JsonValue[] } | { readonly object: JsonObject; key: string };

/** Reads one JSON value from bytes; made for one use. */
export class JsonParser {
  readonly #bytes: Uint8Array;
  readonly #text: Buffer;
  readonly #maxDepth: number;
  readonly #lastWinsFromDepth: number;
  readonly #readList: JsonParserOptions["readList"];
  #at = 0;

  constructor(bytes: Uint8Array, options: JsonParserOptions = {}) {
    this.#bytes = bytes;
    this.#text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#maxDepth = options.maxDepth ?? Number.POSITIVE_INFINITY;
    this.#lastWinsFromDepth = options.lastWinsFromDepth ?? Number.POSITIVE_INFINITY;
    this.#readList = options.readList;
  }

  /**
   * The value; bytes behind it are ignored.
   *
   * @throws FormatError whose message is RapidJSON's text and ` at offset: n`.
   */
  parse(): JsonValue {
    if (this.#bytes[0] === 0xef && this.#bytes[1] === 0xbb && this.#bytes[2] === 0xbf) this.#at = 3;
    const frames: Frame[] = [];
    let next = this.#peek();
    if (next === 0 || next === comma || next === colon || next === closeBracket || next === closeBrace) this.#fail(emptyDocument);
    for (;;) {
      // A value is wanted here.
      let value: JsonValue;
      const read = next === openBracket ? this.#readElsewhere(frames) : undefined;
      if (read !== undefined) {
        value = read.value;
        this.#at = read.end;
      } else if (next === openBracket) {
        this.#at++;
        value = [];
        next = this.#peek();
        if (next !== closeBracket) {
          this.#push(frames, { list: value });
          continue;
        }
        this.#at++;
      } else if (next === openBrace) {
        this.#at++;
        value = Object.create(null) as JsonObject;
        if (this.#peek() !== closeBrace) {
          this.#push(frames, { object: value, key: this.#key() });
          next = this.#peek();
          continue;
        }
        this.#at++;
      } else {
        value = this.#scalar(next);
      }
      // It belongs to the innermost open frame, and may be the last of several.
      for (;;) {
        const frame = frames.at(-1);
        if (frame === undefined) return value;
        if ("list" in frame) frame.list.push(value);
        else if (frames.length > this.#lastWinsFromDepth || !(frame.key in frame.object)) frame.object[frame.key] = value;
        const end = this.#peek();
        const inList = "list" in frame;
        if (end === comma) {
          this.#at++;
          if (!inList) frame.key = this.#key();
          next = this.#peek();
          break;
        }
        if (end !== (inList ? closeBracket : closeBrace)) this.#fail(inList ? missingCommaOrBracket : missingCommaOrBrace);
        this.#at++;
        frames.pop();
        value = inList ? frame.list : frame.object;
      }
    }
  }

  #readElsewhere(frames: readonly Frame[]): ReadList | undefined {
    const frame = frames.at(-1);
    if (this.#readList === undefined || frame === undefined || "list" in frame) return undefined;
    return this.#readList(frame.key, frames.length, this.#at);
  }

  /** The next byte that is not blank; 0 at the end, where RapidJSON stops as it does at a NUL. */
  #peek(): number {
    const bytes = this.#bytes;
    for (;;) {
      const byte = bytes[this.#at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return byte ?? 0;
      this.#at++;
    }
  }

  #push(frames: Frame[], frame: Frame): void {
    if (frames.length >= this.#maxDepth) this.#fail(`Lists and objects stand in each other deeper than ${this.#maxDepth}.`);
    frames.push(frame);
  }

  #fail(text: string, offset = this.#at): never {
    throw new FormatError(`${text} at offset: ${offset}`, { offset });
  }

  #key(): string {
    if (this.#peek() !== quote) this.#fail(missingName);
    const key = this.#string();
    if (this.#peek() !== colon) this.#fail(missingColon);
    this.#at++;
    // Names of tensors are UTF-8; one that is not cannot match any, in whatever way it is replaced.
    return typeof key === "string" ? key : Buffer.from(key).toString("utf8");
  }

  #scalar(first: number): JsonValue {
    switch (first) {
      case quote:
        return this.#string();
      case 0x74:
        return this.#literal("true", true);
      case 0x66:
        return this.#literal("false", false);
      case 0x6e:
        return this.#literal("null", null);
      case 0:
      case comma:
      case colon:
      case closeBracket:
      case closeBrace:
        return this.#fail(invalidValue);
      default:
        return this.#number();
    }
  }

  #literal<T>(word: string, value: T): T {
    for (let i = 0; i < word.length; i++) {
      if (this.#bytes[this.#at] !== word.charCodeAt(i)) this.#fail(invalidValue);
      this.#at++;
    }
    return value;
  }

  #number(): number | bigint {
    const start = this.#at;
    const negative = this.#bytes[start] === minus;
    if (negative) this.#at++;
    const first = this.#bytes[this.#at] ?? 0;
    if (!isDigit(first)) return this.#nanOrInfinity(negative);
    if (first === 0x30) this.#at++;
    else this.#digits();
    const whole = this.#bytes[this.#at] !== point && !this.#atExponent();
    if (whole) return this.#wholeNumber(start);
    if (this.#bytes[this.#at] === point) {
      this.#at++;
      if (!isDigit(this.#bytes[this.#at] ?? 0)) this.#fail(missingFraction);
      this.#digits();
    }
    if (this.#atExponent()) {
      this.#at++;
      const sign = this.#bytes[this.#at];
      if (sign === 0x2b || sign === minus) this.#at++;
      if (!isDigit(this.#bytes[this.#at] ?? 0)) this.#fail(missingExponent);
      this.#digits();
    }
    return this.#double(start);
  }

  #digits(): void {
    while (isDigit(this.#bytes[this.#at] ?? 0)) this.#at++;
  }

  #atExponent(): boolean {
    const byte = this.#bytes[this.#at];
    return byte === 0x65 || byte === 0x45;
  }

  #wholeNumber(start: number): number | bigint {
    const length = this.#at - start;
    const text = this.#text.toString("latin1", start, this.#at);
    if (length <= safeDigits) return BigInt(Number(text));
    if (length <= maxUint64Digits) {
      const value = BigInt(text);
      if (value <= maxUint64 && value >= minInt64) return value;
    }
    return this.#double(start);
  }

  #double(start: number): number {
    const value = Number(this.#text.toString("latin1", start, this.#at));
    if (!Number.isFinite(value)) this.#fail(numberTooBig, start);
    return value;
  }

  #nanOrInfinity(negative: boolean): number {
    if (this.#bytes[this.#at] === 0x4e) return this.#literal("NaN", Number.NaN);
    if (this.#bytes[this.#at] !== 0x49) this.#fail(invalidValue);
    this.#literal("Inf", null);
    if (this.#bytes[this.#at] === 0x69) this.#literal("inity", null);
    return negative ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  }

  #string(): string | Uint8Array {
    const start = ++this.#at;
    const bytes = this.#bytes;
    let at = start;
    for (;;) {
      const byte = bytes[at] ?? 0;
      if (byte === quote || byte === backslash || byte < 0x20) break;
      at++;
    }
    this.#at = at;
    const plain = bytes.subarray(start, at);
    if (bytes[at] === quote) {
      this.#at++;
      return stringFromUtf8(plain);
    }
    return this.#escapedString(plain);
  }

  /** The rest of a string whose first `plain` bytes are read, up to an escape or a mistake. */
  #escapedString(plain: Uint8Array): string | Uint8Array {
    // No escape is shorter than what it stands for.
    const unescaped = Buffer.allocUnsafe(plain.length + this.#stringEnd() - this.#at);
    unescaped.set(plain);
    let length = plain.length;
    for (;;) {
      const start = this.#at;
      const byte = this.#bytes[start] ?? 0;
      if (byte === quote) {
        this.#at++;
        return stringFromUtf8(unescaped.subarray(0, length));
      }
      if (byte === backslash) {
        length = this.#escape(unescaped, length);
        continue;
      }
      if (byte === 0) this.#fail(missingQuote);
      if (byte < 0x20) this.#fail(badEscape);
      let end = start + 1;
      while (!endsRun(this.#bytes[end] ?? 0)) end++;
      unescaped.set(this.#bytes.subarray(start, end), length);
      length += end - start;
      this.#at = end;
    }
  }

  /** Where the string that is being read ends, if it does. */
  #stringEnd(): number {
    let at = this.#at;
    while (at < this.#bytes.length && this.#bytes[at] !== quote) at += this.#bytes[at] === backslash ? 2 : 1;
    return at;
  }

  /** Write what an escape stands for; returns the position behind it. */
  #escape(target: Uint8Array, position: number): number {
    const start = this.#at++;
    const letter = this.#bytes[this.#at] ?? 0;
    const simple = escapes.get(letter);
    if (simple !== undefined) {
      this.#at++;
      target[position] = simple;
      return position + 1;
    }
    if (letter !== 0x75) this.#fail(badEscape, start);
    this.#at++;
    const high = this.#hex4(start);
    if (high < 0xd800 || high > 0xdbff) return writeUtf8(target, position, high);
    if (this.#bytes[this.#at] !== backslash || this.#bytes[this.#at + 1] !== 0x75) this.#fail(badSurrogate, start);
    this.#at += 2;
    const low = this.#hex4(start);
    if (low < 0xdc00 || low > 0xdfff) this.#fail(badSurrogate, start);
    return writeUtf8(target, position, 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00));
  }

  #hex4(escapeStart: number): number {
    const text = this.#text.toString("latin1", this.#at, this.#at + 4);
    if (!/^[0-9a-fA-F]{4}$/.test(text)) this.#fail(badHex, escapeStart);
    this.#at += 4;
    return Number.parseInt(text, 16);
  }
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

function endsRun(byte: number): boolean {
  return byte === quote || byte === backslash || byte < 0x20;
}

/** Text where the bytes are UTF-8, else a copy of the bytes. */
function stringFromUtf8(bytes: Uint8Array): string | Uint8Array {
  if (!isUtf8(bytes)) return Uint8Array.from(bytes);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
}

/** Write a code point in UTF-8, a lone low surrogate as its three bytes, as the server does; returns the position behind it. */
function writeUtf8(target: Uint8Array, at: number, code: number): number {
  if (code < 0x80) {
    target[at] = code;
    return at + 1;
  }
  const following = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  target[at] = ((0xff00 >> (following + 1)) & 0xff) | (code >> (6 * following));
  for (let i = 1; i <= following; i++) target[at + i] = 0x80 | ((code >> (6 * (following - i))) & 0x3f);
  return at + following + 1;
}
