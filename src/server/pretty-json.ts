/** JSON laid out as RapidJSON's PrettyWriter does it (1.1.0, `prettywriter.h`), which the REST bodies of TensorFlow Serving show. */
import { isUtf8 } from "node:buffer";
import type { JsonValue } from "../tensor/json-parser.js";

/** What a text may be written as: one character per byte. */
export type BinaryString = string;

/** UTF-8 bytes of a text, one character per byte: output strings need not be UTF-8, so bodies are put together from bytes. */
export function binary(text: string): BinaryString {
  if (!escapedByte.test(text)) return Buffer.from(text).toString("latin1");
  return Array.from(text, (char) => (escapedByte.test(char) ? String.fromCharCode(char.charCodeAt(0) - 0xdc00) : binary(char))).join("");
}

/** The text of bytes, of which those that are not UTF-8 stand as lone surrogates: {@link binary} makes bytes of them again. */
export function textFromBinary(bytes: BinaryString): string {
  const buffer = Buffer.from(bytes, "latin1");
  if (isUtf8(buffer)) return buffer.toString();
  return bytes.replace(/[\x80-\xff]/g, (char) => String.fromCharCode(0xdc00 + char.charCodeAt(0)));
}

const escapedByte = /[\udc80-\udcff]/u;

const shortEscapes: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};

/** A JSON string; only quotes, backslashes and control characters are escaped. */
export function quoted(text: BinaryString): BinaryString {
  return `"${text.replace(needsEscape, escapeChar)}"`;
}

/** Built from codes: control characters in a literal look like a mistake, to people and to linters. */
const needsEscape = new RegExp(`["\\\\${String.fromCharCode(0)}-${String.fromCharCode(0x1f)}]`, "g");

function escapeChar(char: string): string {
  return shortEscapes[char] ?? `\\u${char.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
}

interface Level {
  readonly inArray: boolean;
  valueCount: number;
}

const indentWidth = 4;

/** Writes one JSON document, 4 spaces a level. */
export class PrettyWriter {
  /** Whether lists stand on one line from here on; what is written earlier stays. */
  singleLineArrays = false;
  readonly #parts: BinaryString[] = [];
  readonly #levels: Level[] = [];

  startObject(): void {
    this.raw("{");
    this.#levels.push({ inArray: false, valueCount: 0 });
  }

  endObject(): void {
    if (this.#levels.pop()?.valueCount !== 0) this.#newLine();
    this.#parts.push("}");
  }

  startArray(): void {
    this.raw("[");
    this.#levels.push({ inArray: true, valueCount: 0 });
  }

  endArray(): void {
    if (this.#levels.pop()?.valueCount !== 0 && !this.singleLineArrays) this.#newLine();
    this.#parts.push("]");
  }

  /** A name or a string. */
  string(text: BinaryString): void {
    this.raw(quoted(text));
  }

  /** Text of a value that is written already. */
  raw(text: BinaryString): void {
    const level = this.#levels.at(-1);
    if (level !== undefined) this.#separate(level);
    this.#parts.push(text);
  }

  toString(): BinaryString {
    return this.#parts.join("");
  }

  #separate(level: Level): void {
    if (level.inArray) {
      if (level.valueCount > 0) this.#parts.push(this.singleLineArrays ? ", " : ",");
      if (!this.singleLineArrays) this.#newLine();
    } else if (level.valueCount % 2 === 1) {
      this.#parts.push(": ");
    } else {
      if (level.valueCount > 0) this.#parts.push(",");
      this.#newLine();
    }
    level.valueCount++;
  }

  #newLine(): void {
    this.#parts.push(`\n${" ".repeat(this.#levels.length * indentWidth)}`);
  }
}

/** How many bytes of a value error messages show: the real server stops behind the one that passes 256. */
const maxDumpLength = 257;

/** A value as error messages show it: lists on one line, cut. */
export function dump(value: JsonValue): BinaryString {
  const writer = new PrettyWriter();
  writer.singleLineArrays = true;
  writeShown(writer, value, { left: maxDumpLength });
  return writer.toString().slice(0, maxDumpLength);
}

/** Every value shows at least one byte, so no more of them than the dump holds are visited; nesting is bounded the same way. */
function writeShown(writer: PrettyWriter, value: JsonValue, budget: { left: number }): void {
  if (budget.left-- <= 0) return;
  if (Array.isArray(value)) {
    writer.startArray();
    for (let i = 0; i < value.length && budget.left > 0; i++) writeShown(writer, value[i] as JsonValue, budget);
    writer.endArray();
  } else if (typeof value === "string") {
    writer.string(binary(value));
  } else if (value instanceof Uint8Array) {
    writer.string(Buffer.from(value).toString("latin1"));
  } else if (typeof value === "object" && value !== null) {
    writer.startObject();
    for (const name in value) {
      if (budget.left <= 0) break;
      writer.string(binary(name));
      writeShown(writer, value[name] as JsonValue, budget);
    }
    writer.endObject();
  } else {
    writer.raw(typeof value === "number" ? shownNumber(value) : String(value));
  }
}

function shownNumber(value: number): string {
  if (Object.is(value, -0)) return "-0.0";
  return Number.isInteger(value) && Math.abs(value) < 1e21 ? `${value}.0` : String(value).replace("e+", "e");
}
