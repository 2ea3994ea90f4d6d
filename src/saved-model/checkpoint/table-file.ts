/**
 * Table files, the format of a checkpoint's index: sorted keys with values, in blocks that carry a checksum.
 *
 * Source: LevelDB, `doc/table_format.md` and `table/block.cc`, which TensorFlow's `xla/tsl/lib/io/table` keeps: data blocks, an index block
 * with the place of each, and a footer (`kTableMagicNumber`). Offsets in errors count from the start of the file, or of a block that was
 * compressed.
 */
import { FormatError } from "../../errors.js";
import { WireReader } from "../../tensor/wire.js";
import { maskedCrc32c } from "../../warmup/crc32c.js";
import { snappyDecompress } from "./snappy.js";

const magicNumber = 0xdb4775248b80fb57n;
/** The footer: two places, padding and the magic number. */
const footerBytes = 48;
/** Behind each block: how it is compressed in a byte, and the checksum of both. */
const trailerBytes = 5;
const compressions = { none: 0, snappy: 1 } as const;

/**
 * How many bytes the keys of one file may have together: 64 MiB, more than those of a million tensors.
 *
 * Of a key only what differs from the one before is stored: without a limit a few bytes could each claim a key of megabytes.
 */
const maxKeyBytes = 64 * 1024 * 1024;

/** One key with its value. */
export interface TableEntry {
  /** Fresh memory. */
  readonly key: Uint8Array;
  /** Reads the value where it stands in the file or in a decompressed block. */
  readonly value: WireReader;
}

/** Where a block stands in the file. */
interface BlockPlace {
  readonly start: number;
  /** Without the trailer. */
  readonly end: number;
}

/**
 * The entries of a table file in the order of their keys, each block checked before its entries are given.
 *
 * @throws FormatError while reading, at the first damage.
 */
export function* readTable(file: Uint8Array): Generator<TableEntry> {
  const budget = { keyBytes: maxKeyBytes };
  const end = file.length - footerBytes;
  let position = 0;
  let lastKey: Uint8Array | undefined;
  for (const { value } of blockEntries(openBlock(file, readFooter(file)), budget)) {
    const place = readPlace(value, end);
    // They follow each other; else a small file could name one block a million times.
    if (place.start < position) throw damaged("a block that begins inside the one before", place.start);
    position = place.end;
    for (const entry of blockEntries(openBlock(file, place), budget)) {
      if (lastKey !== undefined && Buffer.compare(lastKey, entry.key) >= 0) throw damaged("keys out of order", entry.value.position);
      lastKey = entry.key;
      yield entry;
    }
  }
}

/** The place of the index block. */
function readFooter(file: Uint8Array): BlockPlace {
  const start = file.length - footerBytes;
  if (start < 0) throw damaged(`expected at least the ${footerBytes} bytes of a footer, got ${file.length}`, 0);
  const magic = new DataView(file.buffer, file.byteOffset).getBigUint64(file.length - 8, true);
  if (magic !== magicNumber) throw damaged(`expected magic number ${magicNumber.toString(16)}, got ${magic.toString(16)}`, file.length - 8);
  const reader = new WireReader(file, start);
  // First stands the place of a block for extensions, which there are none of.
  reader.varint();
  reader.varint();
  return readPlace(reader, start);
}

/** @param end - Where the blocks of the file end. */
function readPlace(reader: WireReader, end: number): BlockPlace {
  const offset = reader.position;
  const start = Number(reader.int64());
  const size = Number(reader.int64());
  if (start < 0 || size < 0 || start + size + trailerBytes > end) {
    throw damaged(`expected a block within the first ${end} bytes, got one of ${size} bytes from ${start} on`, offset);
  }
  return { start, end: start + size };
}

/** A block's content, once its checksum fits. */
function openBlock(file: Uint8Array, { start, end }: BlockPlace): WireReader {
  const expected = new DataView(file.buffer, file.byteOffset).getUint32(end + 1, true);
  const actual = maskedCrc32c(file.subarray(start, end + 1));
  if (actual !== expected) throw damaged(`expected the block's checksum ${expected}, got ${actual}`, start);
  const compression = file[end];
  if (compression === compressions.none) return new WireReader(file, start, end);
  if (compression === compressions.snappy) return new WireReader(snappyDecompress(file.subarray(start, end)));
  throw damaged(`expected compression 0 (none) or 1 (Snappy), got ${compression}`, end);
}

/** The entries of a block, which ends with a list of those whose key is whole, and its length. */
function* blockEntries(block: WireReader, budget: { keyBytes: number }): Generator<TableEntry> {
  block.end = restartsStart(block);
  let key = new Uint8Array();
  while (block.position < block.end) {
    const start = block.position;
    const sharedBytes = readSize(block);
    const ownBytes = readSize(block);
    const valueBytes = readSize(block);
    const valueStart = block.position + ownBytes;
    const valueEnd = valueStart + valueBytes;
    if (sharedBytes > key.length || valueEnd > block.end) throw damaged("an entry goes beyond its block", start);
    budget.keyBytes -= sharedBytes + ownBytes;
    if (budget.keyBytes < 0) throw damaged(`expected keys of at most ${maxKeyBytes} bytes together, got more`, start);
    key = joined(key.subarray(0, sharedBytes), block.bytes.subarray(block.position, valueStart));
    yield { key, value: new WireReader(block.bytes, valueStart, valueEnd) };
    block.position = valueEnd;
  }
}

function restartsStart({ bytes, position, end }: WireReader): number {
  const count = end - position < 4 ? Number.NaN : new DataView(bytes.buffer, bytes.byteOffset).getUint32(end - 4, true);
  const start = end - 4 - count * 4;
  if (!(start >= position)) throw damaged("a block too short for its list of restarts", position);
  return start;
}

function readSize(reader: WireReader): number {
  const size = reader.varint();
  return reader.high === 0 ? size : Number.POSITIVE_INFINITY;
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(a.length + b.length);
  whole.set(a);
  whole.set(b, a.length);
  return whole;
}

function damaged(why: string, offset: number): FormatError {
  return new FormatError(`damaged table file: ${why} at ${offset}`, { offset });
}
