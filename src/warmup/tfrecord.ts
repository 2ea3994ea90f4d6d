/**
 * TFRecord files: records of bytes, one after the other, each with checksums of its length and of its data.
 *
 * Source: TensorFlow's "TFRecord and tf.train.Example" guide, section "TFRecords format details"; what a reader makes of damaged files is
 * what TensorFlow 2.20's does. All integers are little-endian:
 *
 *     uint64 length, uint32 masked CRC-32C of the length, length bytes of data, uint32 masked CRC-32C of the data
 */
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import type { Writable } from "node:stream";
import { finished } from "node:stream/promises";
import { FormatError, isServingError } from "../errors.js";
import { assertCount, assertOptionNames } from "../option-checks.js";
import { describe, isBytes } from "../tensor/values.js";
import { maskedCrc32c } from "./crc32c.js";

/** Bytes before a record's data: its length and the checksum of that. */
const headerBytes = 12;
/** Bytes of a record beside its data. */
export const framingBytes = headerBytes + 4;
/** What is read or written at once, so that small records cost no system calls. */
const chunkBytes = 256 * 1024;

/** Where a writer's chunks go. */
interface Sink {
  write(chunk: Uint8Array): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

async function fileSink(path: string): Promise<Sink> {
  const file = await open(path, "w");
  // Unlike write(), writeFile() goes on where the system took only a part.
  return { write: (chunk) => file.writeFile(chunk), sync: () => file.sync(), close: () => file.close() };
}

async function streamSink(stream: Writable): Promise<Sink> {
  // Errors reach whoever waits for a write or the end; as events that nobody hears they would end the process.
  stream.on("error", () => {});
  return {
    write: (chunk) => new Promise((resolve, reject) => stream.write(chunk, (error) => (error ? reject(error) : resolve()))),
    sync: async () => {},
    close: () => finished(stream.end(), { readable: false }),
  };
}

/**
 * Writes TFRecords to a file or stream, byte for byte as TensorFlow does, in chunks of some hundred KB.
 *
 * A file that exists is replaced, from the construction on; one that cannot be opened fails every write, the first included. A stream, such
 * as one that compresses, is ended by {@link TFRecordWriter.close}; before that no record is sure to be written.
 */
export class TFRecordWriter {
  readonly #sink: Promise<Sink>;
  /** Settles once every chunk that was handed over is written. */
  #written: Promise<unknown>;
  readonly #chunk = new Uint8Array(chunkBytes);
  #filledBytes = 0;
  #closed: Promise<void> | undefined;

  /**
   * @param target - Path of the file, or a stream.
   * @throws TypeError if it is neither.
   */
  constructor(target: string | Writable) {
    if (typeof target !== "string" && !isWritable(target)) {
      throw new TypeError(`target: expected a path or a Writable stream, got ${describe(target)}`);
    }
    this.#sink = typeof target === "string" ? fileSink(target) : streamSink(target);
    this.#written = this.#sink;
    reportedLater(this.#sink);
  }

  /**
   * Add a record.
   *
   * Its bytes are copied before this returns. Who waits for the promise before writing the next one holds a few chunks in memory at most;
   * who does not still gets the records in order.
   *
   * @throws TypeError if the record is no Uint8Array; Error after `close`; the system's error if records before this one were not written.
   */
  async write(record: Uint8Array): Promise<void> {
    if (!isBytes(record)) throw new TypeError(`record: expected a Uint8Array, got ${describe(record)}`);
    if (this.#closed !== undefined) throw new Error("write: the TFRecordWriter is closed");
    const size = record.length + framingBytes;
    const isFull = size > chunkBytes - this.#filledBytes;
    // What came before this chunk: it is written while the next one is filled.
    const before = isFull ? this.#written : this.#sink;
    if (isFull) this.#handOver();
    if (size > chunkBytes) this.#send(framed(record, size));
    else this.#filledBytes = frameRecord(record, this.#chunk, this.#filledBytes);
    await before;
  }

  /** Hand every record so far to the system, where others can read it, or to the stream. */
  async flush(): Promise<void> {
    this.#handOver();
    await this.#written;
  }

  /** Have every record so far on the disk (fsync), so that the file can be renamed to its real name; of a stream no more than `flush`. */
  async sync(): Promise<void> {
    await this.flush();
    await (await this.#sink).sync();
  }

  /** Write what is left and close the file or end the stream; again, it does nothing. @throws the system's error if not all was written. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    const flushed = this.flush();
    reportedLater(flushed);
    const sink = await this.#sink;
    try {
      await flushed;
    } finally {
      await sink.close();
    }
  }

  /** Have what is in the chunk written; a copy, since streams may hold on to it. */
  #handOver(): void {
    if (this.#filledBytes > 0) this.#send(this.#chunk.slice(0, this.#filledBytes));
    this.#filledBytes = 0;
  }

  /** Have bytes written after those before them. */
  #send(bytes: Uint8Array): void {
    this.#written = this.#written.then(async () => (await this.#sink).write(bytes));
    reportedLater(this.#written);
  }
}

function isWritable(value: unknown): value is Writable {
  const { write, end, on } = Object(value) as Partial<Record<keyof Writable, unknown>>;
  return [write, end, on].every((method) => typeof method === "function");
}

/** A record in memory of its own. */
function framed(record: Uint8Array, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  frameRecord(record, bytes, 0);
  return bytes;
}

/** A failure of this promise shows where it is awaited next; until then it is no unhandled one. */
function reportedLater(promise: Promise<unknown>): void {
  promise.catch(() => {});
}

/**
 * Lay a record out in `target` from `at` on; where it ends.
 *
 * @param masked - The checksum; benches compare others.
 */
export function frameRecord(record: Uint8Array, target: Uint8Array, at: number, masked = maskedCrc32c): number {
  const dataAt = at + headerBytes;
  putUint32(target, at, record.length);
  putUint32(target, at + 4, Math.floor(record.length / 2 ** 32));
  putUint32(target, at + 8, masked(target.subarray(at, at + 8)));
  target.set(record, dataAt);
  putUint32(target, dataAt + record.length, masked(record));
  return dataAt + record.length + 4;
}

function putUint32(target: Uint8Array, at: number, value: number): void {
  target[at] = value;
  target[at + 1] = value >>> 8;
  target[at + 2] = value >>> 16;
  target[at + 3] = value >>> 24;
}

/** Options of {@link readTFRecords}. */
export interface ReadTFRecordsOptions {
  /** At damage, `"throw"` a FormatError, or `"stop"` as if the file ended before it. @defaultValue `"throw"` */
  readonly onCorrupt?: "throw" | "stop" | undefined;
  /** Longest record, in bytes; a longer one counts as damage, before its data is read. @defaultValue 2^31 - 1, the longest protobuf message */
  readonly maxRecordBytes?: number | undefined;
}

/** Defaults of {@link ReadTFRecordsOptions}. */
export const readTFRecordsDefaults = Object.freeze({ onCorrupt: "throw", maxRecordBytes: 2 ** 31 - 1 } as const);

/**
 * The records of a TFRecord file, in their order, each the caller's own memory.
 *
 * The file is read as far as records are asked for. Memory holds a chunk of it, or a few times the longest record so far; a length in the file is
 * not believed before the data is there. Every good record before damage is yielded first. A file that ends inside the 12 bytes before a
 * record's data ends cleanly, as for TensorFlow; who wants to know compares its size with 16 bytes + length for each record.
 *
 * @param source - A path, or the file's bytes in pieces of any size, such as those of a decompressing stream.
 * @throws TypeError or RangeError at once if an option is malformed; while reading, the system's error, or FormatError with the byte offset of
 *   what is damaged, or of the record that is cut off or too long.
 */
export function readTFRecords(source: string | AsyncIterable<Uint8Array>, options: ReadTFRecordsOptions = {}): AsyncIterable<Uint8Array> {
  assertOptionNames(options, { known: { onCorrupt: true, maxRecordBytes: true } });
  const { onCorrupt = readTFRecordsDefaults.onCorrupt, maxRecordBytes = readTFRecordsDefaults.maxRecordBytes } = options;
  if (onCorrupt !== "throw" && onCorrupt !== "stop")
    throw new TypeError(`onCorrupt: expected "throw" or "stop", got ${describe(onCorrupt)}`);
  assertCount("maxRecordBytes", maxRecordBytes, 0);
  return records(source, new Unread(typeof source === "string" ? source : "TFRecords", maxRecordBytes), onCorrupt);
}

async function* records(source: string | AsyncIterable<Uint8Array>, unread: Unread, onCorrupt: "throw" | "stop") {
  try {
    for await (const chunk of typeof source === "string" ? createReadStream(source, { highWaterMark: chunkBytes }) : source) {
      unread.append(chunk);
      for (let record = unread.take(); record !== undefined; record = unread.take()) yield record;
    }
    unread.assertEnd();
  } catch (error) {
    if (onCorrupt === "throw" || !isServingError(error, "FormatError")) throw error;
  }
}

/** What {@link countTFRecords} reads at once: many small records, or little of a large one. */
const countedBytes = 64 * 1024;

/**
 * The number of records in a TFRecord file, up to a damaged length or the end; data is stepped over, not checked.
 *
 * @throws The system's error where the file cannot be read.
 */
export async function countTFRecords(path: string): Promise<number> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const window = new Uint8Array(countedBytes);
    let [windowStart, windowEnd, at, count] = [0, 0, 0, 0];
    for (;;) {
      if (at + headerBytes > windowEnd) {
        windowStart = at;
        windowEnd = at + (await file.read(window, 0, countedBytes, at)).bytesRead;
      }
      const length = at + headerBytes > windowEnd ? undefined : lengthIn(window, at - windowStart);
      if (length === undefined) return count;
      at += framingBytes + length;
      if (at > size) return count;
      count++;
    }
  } finally {
    await file.close();
  }
}

const cutOff = new WeakSet<FormatError>();

/** Whether an error of {@link readTFRecords} says that the last record is cut off, not damaged. */
export function isCutOff(error: FormatError): boolean {
  return cutOff.has(error);
}

/** The length in a record's header; `undefined` if its checksum does not fit. */
function lengthIn(bytes: Uint8Array, at: number): number | undefined {
  if (uint32At(bytes, at + 8) !== maskedCrc32c(bytes.subarray(at, at + 8))) return undefined;
  return uint32At(bytes, at) + uint32At(bytes, at + 4) * 2 ** 32;
}

/** Bytes that were read and not yielded yet. */
class Unread {
  readonly #name: string;
  readonly #maxRecordBytes: number;
  #bytes = new Uint8Array(2 * chunkBytes);
  #start = 0;
  #end = 0;
  /** Of `#start`, in the file. */
  #offset = 0;

  constructor(name: string, maxRecordBytes: number) {
    this.#name = name;
    this.#maxRecordBytes = maxRecordBytes;
  }

  /** Take bytes in, as a copy. */
  append(chunk: Uint8Array): void {
    if (!isBytes(chunk)) throw new TypeError(`${this.#name}: expected pieces that are Uint8Arrays, got ${describe(chunk)}`);
    if (this.#end + chunk.length > this.#bytes.length) this.#makeRoom(chunk.length);
    this.#bytes.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  /** The next record, as a copy; `undefined` until all of it is there. */
  take(): Uint8Array<ArrayBuffer> | undefined {
    if (this.#end - this.#start < headerBytes) return undefined;
    const length = this.#length();
    const dataAt = this.#start + headerBytes;
    const end = dataAt + length + 4;
    if (end > this.#end) return undefined;
    const record = this.#bytes.slice(dataAt, dataAt + length);
    this.#assertChecksum("data", record, dataAt + length, headerBytes);
    this.#offset += end - this.#start;
    this.#start = end;
    return record;
  }

  /** Check that no record is left without its end. */
  assertEnd(): void {
    const left = this.#end - this.#start;
    if (left < headerBytes) return;
    const error = this.#error(`expected ${this.#length() + framingBytes} bytes, got ${left}: the file ends inside the record`);
    cutOff.add(error);
    throw error;
  }

  /** Checked length of the next record's data. */
  #length(): number {
    const at = this.#start;
    this.#assertChecksum("length", this.#bytes.subarray(at, at + 8), at + 8, 0);
    const length = uint32At(this.#bytes, at) + uint32At(this.#bytes, at + 4) * 2 ** 32;
    if (length > this.#maxRecordBytes)
      throw this.#error(`expected a length of at most ${this.#maxRecordBytes} (maxRecordBytes), got ${length}`);
    return length;
  }

  #assertChecksum(what: string, checked: Uint8Array, checksumAt: number, offsetInRecord: number): void {
    const [expected, actual] = [uint32At(this.#bytes, checksumAt), maskedCrc32c(checked)];
    if (actual === expected) return;
    const hint = this.#offset + offsetInRecord === 0 ? "; is this a TFRecord file, and one without compression?" : "";
    throw this.#error(`expected its ${what} to have the checksum ${hex(expected)}, got ${hex(actual)}${hint}`, offsetInRecord);
  }

  #error(text: string, offsetInRecord = 0): FormatError {
    return new FormatError(`${this.#name}: record at ${this.#offset}: ${text}`, { offset: this.#offset + offsetInRecord });
  }

  /** Move what is left to the front, of a larger array if need be; that one doubles, so that few moves add up to long records. */
  #makeRoom(moreBytes: number): void {
    const left = this.#bytes.subarray(this.#start, this.#end);
    const needed = left.length + moreBytes;
    if (needed > this.#bytes.length)
      this.#bytes = new Uint8Array(Math.max(needed, Math.min(2 * needed, this.#maxRecordBytes + framingBytes)));
    this.#bytes.set(left);
    this.#start = 0;
    this.#end = left.length;
  }
}

function uint32At(b: Uint8Array, at: number): number {
  return ((b[at] as number) | ((b[at + 1] as number) << 8) | ((b[at + 2] as number) << 16) | ((b[at + 3] as number) << 24)) >>> 0;
}

function hex(value: number): string {
  return value.toString(16).padStart(8, "0");
}
