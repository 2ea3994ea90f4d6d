import { maskedCrc32c } from "../../../src/warmup/crc32c.js";

/** A key and its value. */
export type Entry = readonly [key: string | Uint8Array, value: Uint8Array];

/** How to write a table that no writer would write. */
export interface TableOptions {
  /** Byte behind each data block; the block itself is written as it is. */
  readonly compression?: number;
  /** How many times the index names the one data block. */
  readonly blocks?: number;
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) | 128, ...varint(Math.floor(value / 128))];
}

/** A block of entries with whole keys, which is read like any other. */
function blockOf(entries: readonly Entry[]): Buffer {
  const parts = entries.flatMap(([key, value]) => [
    Buffer.from([0, ...varint(Buffer.from(key).length), ...varint(value.length)]),
    Buffer.from(key),
    value,
  ]);
  return Buffer.concat([...parts, Buffer.from([0, 0, 0, 0, 1, 0, 0, 0])]);
}

/** A block with the byte that tells its compression and the checksum. */
export function sealed(block: Uint8Array, compression = 0): Buffer {
  const whole = Buffer.concat([block, Buffer.from([compression, 0, 0, 0, 0])]);
  whole.writeUInt32LE(maskedCrc32c(whole.subarray(0, -4)), whole.length - 4);
  return whole;
}

/** A table file around one data block: LevelDB's format, written as plainly as it allows. */
export function tableAround(block: Uint8Array, { compression = 0, blocks = 1 }: TableOptions = {}): Uint8Array {
  const data = sealed(block, compression);
  const place = Buffer.from([...varint(0), ...varint(block.length)]);
  const index = blockOf(Array.from({ length: blocks }, () => ["~", place] as const));
  const footer = Buffer.alloc(48);
  footer.set([0, 0, ...varint(data.length), ...varint(index.length)]);
  footer.writeBigUInt64LE(0xdb4775248b80fb57n, 40);
  return new Uint8Array(Buffer.concat([data, sealed(index), footer]));
}

/** A table file of entries, in the order given. */
export function tableOf(entries: readonly Entry[], options?: TableOptions): Uint8Array {
  return tableAround(blockOf(entries), options);
}
