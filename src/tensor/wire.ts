/**
 * Protobuf wire primitives for the hand-written codecs (Protocol Buffers documentation, "Encoding").
 *
 * A tag is `field << 3 | wire type`; the wire types met here are 0 varint, 1 64-bit, 2 length-delimited, 3/4 group, 5 32-bit.
 */
import { FormatError } from "../errors.js";

/** How deep unknown groups may nest; protobuf's own decoders stop at the same depth. */
const maxGroupDepth = 100;

/** Reads one message, or one part of it, of bytes that may be hostile: every step is checked against the end. */
export class WireReader {
  /** The whole buffer; a plain Uint8Array, so that `slice` copies (a Buffer's would not). */
  readonly bytes: Uint8Array;
  /** Next byte to read. */
  position: number;
  /** First byte that belongs to somebody else. */
  end: number;
  /** Low 32 bits of the last varint, signed. */
  low = 0;
  /** High 32 bits of the last varint, signed. */
  high = 0;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.bytes = bytes.constructor === Uint8Array ? bytes : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.position = start;
    this.end = end;
  }

  /** Read a varint into {@link low} and {@link high}; the low half is also returned, unsigned. */
  varint(): number {
    const first = this.bytes[this.position] as number;
    // Most varints are a tag or a small length: one byte. The comparison is false for a byte that is not there, too.
    if (!(first < 128 && this.position < this.end)) return this.#longVarint();
    this.position++;
    this.low = first;
    this.high = 0;
    return first;
  }

  #longVarint(): number {
    const { bytes } = this;
    let position = this.position;
    let byte = this.#byte(bytes, position++);
    let low = byte & 127;
    let high = 0;
    // Byte 5 straddles both halves: 28 bits lie below it, 3 of its own 7 bits above.
    for (let shift = 7; byte >= 128; shift += 7) {
      if (shift > 63)
        throw new FormatError(`malformed message: a varint of more than 10 bytes at ${this.position}`, { offset: this.position });
      byte = this.#byte(bytes, position++);
      const bits = byte & 127;
      if (shift < 32) low |= bits << shift;
      if (shift === 28) high = bits >> 4;
      else if (shift > 28) high |= bits << (shift - 32);
    }
    this.position = position;
    this.low = low | 0;
    this.high = high | 0;
    return low >>> 0;
  }

  /** The varint as a signed 64-bit number, exactly. */
  int64(): bigint {
    const low = this.varint();
    return (BigInt(this.high) << 32n) | BigInt(low);
  }

  /** Read the length of a length-delimited field and return where the field ends; {@link position} is where it starts. */
  fieldEnd(): number {
    const start = this.position;
    const end = this.varint() + this.position;
    if (this.high !== 0 || end > this.end) {
      throw new FormatError(`malformed message: a field at ${start} goes beyond the end of the message at ${this.end}`, { offset: start });
    }
    return end;
  }

  /** Go into a length-delimited field: the reader ends where the field does, until {@link leave} is given what this returns. */
  enter(): number {
    const outerEnd = this.end;
    this.end = this.fieldEnd();
    return outerEnd;
  }

  /** Step behind the field that was entered, read to its end or not. */
  leave(outerEnd: number): void {
    this.position = this.end;
    this.end = outerEnd;
  }

  /** The next tag. */
  tag(): number {
    const start = this.position;
    const tag = this.varint();
    if (this.high !== 0 || tag < 8) throw new FormatError(`malformed message: no field has the tag ${tag} at ${start}`, { offset: start });
    return tag;
  }

  /** Step over the value of a field that nobody asked for. */
  skip(tag: number, depth = 0): void {
    switch (tag & 7) {
      case 0:
        this.varint();
        return;
      case 1:
        this.#step(8);
        return;
      case 2:
        this.position = this.fieldEnd();
        return;
      case 3:
        this.#skipGroup(tag, depth + 1);
        return;
      case 5:
        this.#step(4);
        return;
      default:
        throw new FormatError(`malformed message: wire type ${tag & 7} at ${this.position}`, { offset: this.position });
    }
  }

  #skipGroup(start: number, depth: number): void {
    if (depth > maxGroupDepth)
      throw new FormatError(`malformed message: groups nest deeper than ${maxGroupDepth}`, { offset: this.position });
    for (;;) {
      const tag = this.tag();
      if (tag === start + 1) return;
      this.skip(tag, depth);
    }
  }

  #step(count: number): void {
    if (this.position + count > this.end) this.#truncated();
    this.position += count;
  }

  #byte(bytes: Uint8Array, position: number): number {
    const byte = bytes[position];
    if (byte === undefined || position >= this.end) this.#truncated();
    return byte;
  }

  #truncated(): never {
    throw new FormatError(`malformed message: it ends inside a field, at ${this.end}`, { offset: this.end });
  }
}

/**
 * How many pieces of a message may belong together; whoever writes protobuf today sends one.
 *
 * They are kept in an array, and beyond V8's limit of those the process would end.
 */
const maxPieces = 1_000_000;

/** Add a piece of a message to ranges, which hold start and end in turn. */
export function addRange(ranges: number[], start: number, end: number): void {
  if (ranges.length >= 2 * maxPieces) throw new FormatError(`malformed message: expected a field in at most ${maxPieces} pieces, got more`);
  ranges.push(start, end);
}

/** Bytes in ranges. */
export function totalLength(ranges: readonly number[]): number {
  let total = 0;
  for (let i = 0; i < ranges.length; i += 2) total += (ranges[i + 1] as number) - (ranges[i] as number);
  return total;
}

/** Bytes that {@link writeVarint} writes for a whole number from 0 to 2^53 - 1. */
export function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) size++;
  return size;
}

/** Write a whole number from 0 to 2^53 - 1 as a varint; returns the position behind it. */
export function writeVarint(target: Uint8Array, at: number, value: number): number {
  let position = at;
  let rest = value;
  while (rest >= 128) {
    target[position++] = (rest % 128) | 128;
    rest = Math.floor(rest / 128);
  }
  target[position++] = rest;
  return position;
}

/** Bytes that {@link writeInt64} writes. */
export function int64Size(value: number | bigint): number {
  let size = 1;
  for (let rest = BigInt.asUintN(64, BigInt(value)); rest >= 128n; rest >>= 7n) size++;
  return size;
}

/** Write a signed 64-bit number as a varint, a negative one as its two's complement; returns the position behind it. */
export function writeInt64(target: Uint8Array, at: number, value: number | bigint): number {
  let position = at;
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest >= 128n; rest >>= 7n) target[position++] = Number(rest & 127n) | 128;
  target[position++] = Number(rest);
  return position;
}

/** Bytes of a length-delimited field of `length` bytes whose tag takes one byte. */
export function fieldSize(length: number): number {
  return 1 + varintSize(length) + length;
}

const utf8 = new TextEncoder();

/** Bytes of a text in UTF-8. A loop, because names are short and ASCII, and any call into the engine costs more than they do. */
export function textSize(text: string): number {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return Buffer.byteLength(text);
  return text.length;
}

/** Write a text of {@link textSize} `size` as a length-delimited field; returns the position behind it. */
export function writeTextField(target: Uint8Array, at: number, tag: number, text: string, size: number): number {
  const position = writeFieldHead(target, at, tag, size);
  // One byte for each code unit is ASCII: all others take more.
  if (size === text.length) for (let i = 0; i < size; i++) target[position + i] = text.charCodeAt(i);
  else utf8.encodeInto(text, target.subarray(position, position + size));
  return position + size;
}

/** Write tag and length of a length-delimited field; returns where its bytes begin. */
export function writeFieldHead(target: Uint8Array, at: number, tag: number, length: number): number {
  target[at] = tag;
  return writeVarint(target, at + 1, length);
}
