/**
 * CRC-32C, the checksum of TFRecord files and of TensorFlow's table files.
 *
 * Source: RFC 3720, appendix B.4 (Castagnoli polynomial, reflected); "slicing by N" looks up N bytes in one step (Kounavis and Berry, 2005);
 * the mask is that of LevelDB's log format, which TensorFlow keeps.
 */
import { describe, isBytes } from "../tensor/values.js";

const reflectedPolynomial = 0x82f63b78;
const maskDelta = 0xa282ead8;

/** Above this length the view that reads whole words is worth its making; `npm run bench -- tfrecord` tells. */
const wordsMinBytes = 64;

/**
 * What a byte contributes to the checksum: entry `256 * n + byte` where `n` more bytes follow in its step.
 *
 * A constant, so that the compiler knows its length and leaves out the checks of indices (1.2x); filled at first use.
 */
const tables = new Int32Array(16 * 256);

/** The CRC-32C of some bytes, from 0 to 2^32 - 1. @throws TypeError for anything but a Uint8Array. */
export function crc32c(bytes: Uint8Array): number {
  // `instanceof` first, which costs nothing; it does not know the arrays of other realms.
  if (!(bytes instanceof Uint8Array || isBytes(bytes))) throw new TypeError(`expected a Uint8Array, got ${describe(bytes)}`);
  if (tables[1] === 0) fillTables();
  return ~(bytes.length < wordsMinBytes ? addBytes(-1, bytes, 0) : addWords(-1, bytes)) >>> 0;
}

/** The CRC-32C of some bytes as files store it, see {@link maskedFrom}. */
export function maskedCrc32c(bytes: Uint8Array): number {
  return maskedFrom(crc32c(bytes));
}

/** A checksum as files store it: rotated and shifted, since one over bytes that hold their own checksum would be a poor one. */
export function maskedFrom(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + maskDelta) >>> 0;
}

/** Sixteen bytes in a step, read as four words, which need no alignment; then the rest. */
function addWords(start: number, bytes: Uint8Array): number {
  const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let crc = start;
  let at = 0;
  for (const end = bytes.length - 15; at < end; at += 16) {
    // Apart from the word that waits for the step before.
    const later =
      lookUp(8, words.getInt32(at + 4, true)) ^ lookUp(4, words.getInt32(at + 8, true)) ^ lookUp(0, words.getInt32(at + 12, true));
    crc = lookUp(12, crc ^ words.getInt32(at, true)) ^ later;
  }
  return addBytes(crc, bytes, at);
}

/** Eight bytes in a step, read one by one; then the rest. */
function addBytes(start: number, bytes: Uint8Array, from: number): number {
  let crc = start;
  let at = from;
  for (const end = bytes.length - 7; at < end; at += 8) crc = lookUp(4, crc ^ wordAt(bytes, at)) ^ lookUp(0, wordAt(bytes, at + 4));
  for (; at < bytes.length; at++) crc = (crc >>> 8) ^ (tables[(crc ^ (bytes[at] as number)) & 0xff] as number);
  return crc;
}

/** What the four bytes of a word contribute where so many more follow in the step. */
function lookUp(bytesBehind: number, word: number): number {
  const last = bytesBehind * 256;
  return (
    (tables[last + 768 + (word & 0xff)] as number) ^
    (tables[last + 512 + ((word >>> 8) & 0xff)] as number) ^
    (tables[last + 256 + ((word >>> 16) & 0xff)] as number) ^
    (tables[last + (word >>> 24)] as number)
  );
}

/** Four bytes, the first of them lowest. */
function wordAt(b: Uint8Array, at: number): number {
  return (b[at] as number) | ((b[at + 1] as number) << 8) | ((b[at + 2] as number) << 16) | ((b[at + 3] as number) << 24);
}

function fillTables(): void {
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? reflectedPolynomial : 0);
    tables[byte] = crc;
  }
  for (let i = 256; i < tables.length; i++) {
    const before = tables[i - 256] as number;
    tables[i] = (before >>> 8) ^ (tables[before & 0xff] as number);
  }
}
