import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { crc32c, maskedCrc32c } from "../../src/warmup/crc32c.js";

interface Entry {
  crc32c: string;
  masked: string;
  length: number;
  data_b64?: string;
}

const fixture = new URL("../fixtures/tfrecord/crc32c.json", import.meta.url);
const { entries } = JSON.parse(readFileSync(fixture, "utf8")) as { entries: Entry[] };

/** The bytes of an entry; those of long ones follow the rule that the file tells. */
function dataOf({ data_b64, length }: Entry): Uint8Array {
  return data_b64 === undefined ? sevens(length) : Buffer.from(data_b64, "base64");
}

function sevens(length: number): Uint8Array {
  return new Uint8Array(length).map((_, i) => i * 7);
}

/** The definition, one bit at a time. */
function bitwise(bytes: Uint8Array): number {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}

describe("crc32c", () => {
  it.each(entries)("is TensorFlow's for $length bytes: $crc32c, masked $masked", (entry) => {
    const data = dataOf(entry);
    expect(crc32c(data)).toBe(Number.parseInt(entry.crc32c, 16));
    expect(maskedCrc32c(data)).toBe(Number.parseInt(entry.masked, 16));
  });

  it("is the same for every length and alignment of a view", () => {
    const bytes = sevens(300);
    for (let from = 0; from < 9; from++) {
      for (let length = 0; length < 140; length++) {
        const view = bytes.subarray(from, from + length);
        expect(crc32c(view), `${length} bytes at ${from}`).toBe(bitwise(view));
      }
    }
  });

  it.each(["123456789", [1, 2], Float32Array.of(1), undefined])("rejects %o", (value) => {
    expect(() => crc32c(value as never)).toThrow(TypeError);
    expect(() => maskedCrc32c(value as never)).toThrow(/^expected a Uint8Array, got /);
  });
});
