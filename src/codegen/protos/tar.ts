/**
 * Reading tar archives that nobody vouches for: only the files that are asked for, within limits, and nothing is ever written.
 *
 * Source: POSIX.1-2017, `pax` utility, "ustar Interchange Format" and "pax Extended Header"; GNU tar manual, "Basic Tar Format" (long names).
 */
import { FormatError } from "../../errors.js";

/** How much of an archive is read before it is refused. */
export interface TarLimits {
  /** Entries of any kind. */
  readonly maxEntries: number;
  /** Bytes of one file that is wanted, or of one long name. */
  readonly maxFileBytes: number;
  /** Bytes of all wanted files together. */
  readonly maxTotalBytes: number;
}

/** Far above what source trees of TensorFlow have. */
export const tarLimitsDefaults: TarLimits = Object.freeze({
  maxEntries: 500_000,
  maxFileBytes: 4 * 1024 * 1024,
  maxTotalBytes: 128 * 1024 * 1024,
});

/** Which entries are read, and within which limits. */
export interface TarOptions {
  /** What errors call the archive. */
  readonly name: string;
  /** Whether a file's bytes are wanted; all others are passed over. */
  readonly isWanted: (path: string) => boolean;
  readonly limits?: TarLimits;
}

/** A regular file of an archive; the bytes are the caller's own. */
export interface TarFile {
  /** As the archive has it, without a leading `./`. */
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** Headers and the places where files begin are multiples of this. */
const blockBytes = 512;

/** An entry as its header says it. */
interface Header {
  readonly path: string;
  readonly type: string;
  readonly sizeBytes: number;
}

/** What an entry before it says of the next one, where its header has no room for it. */
interface Extended {
  path?: string;
  sizeBytes?: number;
}

/**
 * The wanted regular files of a tar archive, in its order. Links, folders and devices are passed over.
 *
 * @param chunks - The archive, unpacked. Read to its end.
 * @throws FormatError if the archive is damaged, ends early, exceeds a limit, or names a path that leaves the folder it is unpacked to.
 */
export async function* readTar(chunks: AsyncIterable<Uint8Array>, options: TarOptions): AsyncGenerator<TarFile> {
  const { name, isWanted, limits = tarLimitsDefaults } = options;
  const source = new ByteSource(chunks, name);
  let extended: Extended = {};
  let totalBytes = 0;
  for (let entries = 1; ; entries++) {
    const start = source.offset;
    const header = parseHeader(await source.take(blockBytes), name, start);
    if (header === undefined) break;
    if (entries > limits.maxEntries) throw tooMuch(name, start, `more than ${limits.maxEntries} entries`);
    if (isExtension(header.type)) {
      if (header.sizeBytes > limits.maxFileBytes) throw tooMuch(name, start, `an extended header of ${header.sizeBytes} bytes`);
      extended = { ...extended, ...parseExtension(header.type, await source.takeBlocks(header.sizeBytes), name, start) };
      continue;
    }

    const path = safePath(extended.path ?? header.path, name, start);
    const sizeBytes = extended.sizeBytes ?? header.sizeBytes;
    extended = {};
    if (!isRegular(header.type) || !isWanted(path)) {
      await source.skipBlocks(sizeBytes);
      continue;
    }
    totalBytes += sizeBytes;
    if (sizeBytes > limits.maxFileBytes) throw tooMuch(name, start, `${path} of ${sizeBytes} bytes`);
    if (totalBytes > limits.maxTotalBytes) throw tooMuch(name, start, `files of more than ${limits.maxTotalBytes} bytes`);
    yield { path, bytes: await source.takeBlocks(sizeBytes) };
  }
  await source.skipRest();
}

function tooMuch(name: string, offset: number, what: string): FormatError {
  return new FormatError(`${name}: ${what}, which is more than is read from an archive`, { offset });
}

function isRegular(type: string): boolean {
  return type === "0" || type === "\0" || type === "7";
}

/** `x`: pax records for the next entry. `L`: its path, in GNU tar; `K`: where it links to. `g`: records for all. */
function isExtension(type: string): boolean {
  return ["x", "L", "K", "g"].includes(type);
}

/** @returns `undefined` for the block of zeros that ends an archive. */
function parseHeader(block: Buffer, name: string, offset: number): Header | undefined {
  if (block.every((byte) => byte === 0)) return undefined;
  const stated = octal(block, 148, 8);
  // The checksum is over the header with its own eight bytes as spaces.
  const sum = block.reduce((total, byte, index) => total + (index >= 148 && index < 156 ? 0x20 : byte), 0);
  if (stated !== sum) throw new FormatError(`${name}: expected a tar header with checksum ${sum}, got ${stated}`, { offset });
  const sizeBytes = octal(block, 124, 12);
  if (!Number.isSafeInteger(sizeBytes)) throw new FormatError(`${name}: expected the size of a file in octal digits`, { offset });
  const prefix = text(block, 257, 6) === "ustar" ? text(block, 345, 155) : "";
  const path = text(block, 0, 100);
  return { path: prefix === "" ? path : `${prefix}/${path}`, type: String.fromCharCode(block[156] ?? 0), sizeBytes };
}

function parseExtension(type: string, bytes: Buffer, name: string, offset: number): Extended {
  if (type === "L") return { path: text(bytes, 0, bytes.length) };
  const extended: Extended = {};
  if (type !== "x") return extended;
  for (let start = 0; start < bytes.length; ) {
    // "LENGTH KEY=VALUE\n", where LENGTH counts the whole record.
    const record = /^(\d{1,10}) ([^=]*)=/.exec(bytes.toString("latin1", start, start + 256));
    const end = start + Number(record?.[1]);
    if (record === null || !(end <= bytes.length && end > start + record[0].length)) {
      throw new FormatError(`${name}: damaged pax record`, { offset: offset + blockBytes + start });
    }
    const value = bytes.toString("utf8", start + record[0].length, end - 1);
    if (record[2] === "path") extended.path = value;
    if (record[2] === "size") extended.sizeBytes = paxSize(value, name, offset);
    start = end;
  }
  return extended;
}

function paxSize(value: string, name: string, offset: number): number {
  const sizeBytes = Number(value);
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(sizeBytes)) {
    throw new FormatError(`${name}: expected the size of a file in digits, got ${JSON.stringify(value.slice(0, 40))}`, { offset });
  }
  return sizeBytes;
}

/** Refuses the whole archive: one that tries to leave its folder is no release. */
function safePath(path: string, name: string, offset: number): string {
  if (/^[/\\]|^[A-Za-z]:|\0/.test(path) || path.split(/[/\\]/).includes("..")) {
    throw new FormatError(`${name}: ${JSON.stringify(path)} leads out of the archive`, { offset });
  }
  return path.replace(/^(?:\.\/)+/, "");
}

/** Octal digits, with spaces or NUL around them; NaN for anything else, the binary sizes of files above 8 GiB among it. */
function octal(block: Buffer, start: number, length: number): number {
  const digits = text(block, start, length).trim();
  return /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : Number.NaN;
}

/** Up to the first NUL. */
function text(block: Buffer, start: number, length: number): string {
  const bytes = block.subarray(start, start + length);
  const end = bytes.indexOf(0);
  return bytes.toString("utf8", 0, end === -1 ? bytes.length : end);
}

/** Bytes between the end of a file and the next header. */
function fillingOf(sizeBytes: number): number {
  return (blockBytes - (sizeBytes % blockBytes)) % blockBytes;
}

/** Bytes by count from chunks of any size. */
class ByteSource {
  /** Bytes read so far. */
  offset = 0;
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #name: string;
  #rest: Uint8Array = new Uint8Array();

  constructor(chunks: AsyncIterable<Uint8Array>, name: string) {
    this.#chunks = chunks[Symbol.asyncIterator]();
    this.#name = name;
  }

  /** The next `count` bytes. */
  async take(count: number): Promise<Buffer> {
    const parts: Uint8Array[] = [];
    for await (const part of this.#parts(count)) parts.push(part);
    return Buffer.concat(parts, count);
  }

  /** The next `count` bytes, without what fills their last block. */
  async takeBlocks(count: number): Promise<Buffer> {
    const bytes = await this.take(count);
    await this.take(fillingOf(count));
    return bytes;
  }

  /** Past the next `count` bytes and what fills their last block. */
  async skipBlocks(count: number): Promise<void> {
    for await (const _part of this.#parts(count + fillingOf(count)));
  }

  /** To the end, so that what unpacks the archive checks all of it. */
  async skipRest(): Promise<void> {
    while ((await this.#chunks.next()).done !== true);
  }

  async *#parts(count: number): AsyncGenerator<Uint8Array> {
    for (let missing = count; missing > 0; ) {
      while (this.#rest.length === 0) await this.#fill(missing);
      const part = this.#rest.subarray(0, missing);
      this.#rest = this.#rest.subarray(part.length);
      this.offset += part.length;
      missing -= part.length;
      yield part;
    }
  }

  async #fill(missing: number): Promise<void> {
    const { done, value } = await this.#chunks.next();
    if (done === true)
      throw new FormatError(`${this.#name}: the archive ends early, ${missing} bytes or more are missing`, { offset: this.offset });
    this.#rest = value;
  }
}
