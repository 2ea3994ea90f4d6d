/**
 * Snappy's raw format, decompression only.
 *
 * Source: google/snappy, `format_description.txt`: the length as a varint, then elements, each a tag whose two low bits tell a literal from
 * the three forms of copies of what came before.
 */
import { FormatError } from "../../errors.js";
import { WireReader } from "../../tensor/wire.js";

/** The most that a byte can stand for: a copy of 64 bytes takes 3. */
const maxExpansion = 22;

/** One literal or copy. */
interface Element {
  /** Bytes it stands for. */
  readonly size: number;
  /** How far back a copy begins; absent for a literal. */
  readonly distance?: number;
  /** Where its tag and numbers end, and the bytes of a literal begin. */
  readonly end: number;
}

/**
 * What the bytes were before they were compressed; fresh memory, at most 22 times as much as was given.
 *
 * @throws FormatError with the offset in `input`.
 */
export function snappyDecompress(input: Uint8Array): Uint8Array<ArrayBuffer> {
  const reader = new WireReader(input);
  const length = reader.varint();
  if (reader.high !== 0 || length > input.length * maxExpansion) throw damaged("the length is beyond what the rest can stand for", 0);
  const output = new Uint8Array(length);
  let written = 0;
  for (let at = reader.position; at < input.length; ) {
    const { size, distance, end } = readElement(input, at);
    const from = distance === undefined ? end : written - distance;
    at = distance === undefined ? end + size : end;
    if (at > input.length || from < 0 || distance === 0 || written + size > length) throw damaged("an element goes beyond the data", end);
    if (distance === undefined) output.set(input.subarray(from, at), written);
    // Byte by byte, for a copy may go on into what it has just written.
    else for (let i = 0; i < size; i++) output[written + i] = output[from + i] as number;
    written += size;
  }
  if (written !== length) throw damaged(`expected ${length} bytes, got ${written}`, input.length);
  return output;
}

function readElement(input: Uint8Array, at: number): Element {
  const tag = input[at] as number;
  const upper = tag >> 2;
  switch (tag & 3) {
    case 0: {
      const extraBytes = Math.max(0, upper - 59);
      return { size: 1 + (extraBytes === 0 ? upper : uintAt(input, at + 1, extraBytes)), end: at + 1 + extraBytes };
    }
    case 1:
      return { size: 4 + (upper & 7), distance: ((tag >> 5) << 8) | uintAt(input, at + 1, 1), end: at + 2 };
    case 2:
      return { size: 1 + upper, distance: uintAt(input, at + 1, 2), end: at + 3 };
    default:
      return { size: 1 + upper, distance: uintAt(input, at + 1, 4), end: at + 5 };
  }
}

/** A little-endian number of up to four bytes; those beyond the end count as 0, and the caller checks the end. */
function uintAt(input: Uint8Array, at: number, bytes: number): number {
  let value = 0;
  for (let i = bytes - 1; i >= 0; i--) value = value * 256 + (input[at + i] ?? 0);
  return value;
}

function damaged(why: string, offset: number): FormatError {
  return new FormatError(`damaged Snappy data: ${why} at ${offset}`, { offset });
}
