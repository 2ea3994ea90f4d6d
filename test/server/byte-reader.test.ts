import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { ByteReader } from "../../src/server/byte-reader.js";

describe("ByteReader", () => {
  it("reads a line of many pieces in time that grows with its length", async () => {
    const stream = new PassThrough();
    const reader = new ByteReader(stream);
    const line = reader.line(4_000_001);
    const from = performance.now();
    for (let i = 0; i < 20_000; i++) {
      stream.write("a".repeat(200));
      // Each piece is looked at before the next one comes.
      await new Promise(setImmediate);
    }
    stream.write("\r\nrest");
    expect(await line).toHaveLength(4_000_000);
    expect((await reader.bytes(4)).toString()).toBe("rest");
    expect(performance.now() - from).toBeLessThan(2_000);
  });

  it("does not write into bytes it has given out", async () => {
    const stream = new PassThrough();
    const reader = new ByteReader(stream);
    stream.write("abc");
    stream.write("def");
    stream.write("g");
    await expect.poll(() => reader.hasBytes).toBe(true);
    const first = await reader.bytes(5);
    stream.write("hijklmnopqrstuvwxyz");
    expect((await reader.bytes(21)).toString()).toBe("fghijklmnopqrstuvwxyz");
    expect(first.toString()).toBe("abcde");
    expect(reader.hasBytes).toBe(false);
  });
});
