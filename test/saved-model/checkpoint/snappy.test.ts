import { describe, expect, it } from "vitest";
import { isServingError } from "../../../src/errors.js";
import { snappyDecompress } from "../../../src/saved-model/checkpoint/snappy.js";
import { Random } from "../../support/random.js";

const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"));
const textOf = (compressed: Uint8Array) => Buffer.from(snappyDecompress(compressed)).toString("latin1");

const squares = Array.from({ length: 200 }, (_, i) => `${i * i},`).join("");

/** Made by cramjam 2.14.0 (`snappy.compress_raw`), which wraps the `snap` crate. */
const compressed = {
  sentence: "UfBQV2lraXBlZGlhIGlzIGEgZnJlZSwgd2ViLWJhc2VkLCBjb2xsYWJvcmF0aXZlLCBtdWx0aWxpbmd1YWwgZW5jeWNsb3BlZGlhIHByb2plY3Qu",
  run: "6AcAYf4BAP4BAP4BAP4BAP4BAP4BAP4BAP4BAP4BAP4BAP4BAP4BAP4BAP4BAP4BAJoBAA==",
  squares: [
    "ngjw7TAsMSw0LDksMTYsMjUsMzYsNDksNjQsODEsMTAwLDEyMSwxNDQsMTY5LDE5NiwyMjUsMjU2LDI4OSwzMjQsMzYxLDQwMCw0NDEsNDg0LDUyOSw1NzYs",
    "NjI1LDY3Niw3MjksNzg0LDg0MSw5MDAsOTYxLDEwMjQsMTA4OSwxMTU2LDEyMjUsMTI5NiwxMzY5LDE0NDQsMTUyMSwxNjAwLDE2ODEsMTc2NCwxODQ5LDE5",
    "MzYsMjAyNSwyMTE2LDIyMDksMjMwNCwyNDAxLDI1MDAsMjYwMSwyNzA0LDI4MDksMjkxNiwzMDI1LDMxMzYBtTA5LDMzNjQsMzQ4MSwzAWTwdTM3MjEsMzg0",
    "NCwzOTY5LDQwOTYsNDIyNSw0MzU2LDQ0ODksNDYyNCw0NzYxLDQ5MDAsNTA0MSw1MTg0LDUzMjksNTQ3Niw1NjI1LDU3NzYsNTkyOSw2MDg0LDYyNDEsNjQw",
    "MCw2NTYxLDY3MjQsNjg4OSw3MDUhHVwyNSw3Mzk2LDc1NjksNzc0NCw3OTIxLDghexg4MjgxLDg0IYwkNjQ5LDg4MzYsOQHIRDkyMTYsOTQwOSw5NjA0LDk4",
    "MCWsIa4EMDIFDCA0MDQsMTA2MDkhZxAxNiwxMQE4DDExMjMBDAA0IUgkMTY2NCwxMTg4MSHkATwEMjMh7AQyNSHuBDI3IfAYMjk5NiwxMwGmCDEzNCGrODM2",
    "ODksMTM5MjQsMTQxNkUcATwINDY0AQxEODg0LDE1MTI5LDE1Mzc2LDE1IRQIMTU4AQwANgUYBDYzASQANgUwADZBEgQxNwVIBDc0AVQANwVgBDc5AWwAOAV4",
    "BDg0AYQAOAWQBDkwAZwAOQWoBDk2AXgAOQHAHDIwMTY0LDIwAdgYMjA3MzYsMgXwCDIxM0HVADEhCAAyAT0ILDIyISAcMjI1MDAsMjIhOAgyMzFBKQAzIU4I",
    "MjM3ATAANCEsCDI0MwFIADQheggyNDkBYAA1IZAEMjUBeAQyNSGmODI2MjQ0LDI2NTY5LDI2OGEeADcBtAgyNzVhIjw3ODg5LDI4MjI0LDI4NTYxYTQBeGQ5",
    "MjQxLDI5NTg0LDI5OTI5LDMwMjc2LDMwNmGABDA5AQwAMUFWHDMxNjg0LDMyQWwEMzIhaCAzMjc2MSwzMzFhegAzQZgYMzM4NTYsM0WuDDM0NTkBDEHECDM1",
    "M0HPADVF2gA2IeAIMzY0RfAAOEH7BDcyYQYcNzYzNiwzODABeAg4NDEBDDw4MDksMzkyMDQsMzk2MDEs",
  ].join(""),
};

describe("snappyDecompress", () => {
  it.each([
    ["sentence", compressed.sentence, "Wikipedia is a free, web-based, collaborative, multilingual encyclopedia project."],
    ["run", compressed.run, "a".repeat(1000)],
    ["squares", compressed.squares, squares],
  ])("reads the %s that another program compressed", (_, base64, expected) => {
    expect(textOf(Buffer.from(base64, "base64"))).toBe(expected);
  });

  it.each([
    ["nothing", "00", ""],
    ["a literal", "03 08 616263", "abc"],
    ["a literal with its length in 1 byte", "03 f0 02 616263", "abc"],
    ["a literal with its length in 2 bytes", "03 f4 0200 616263", "abc"],
    ["a literal with its length in 3 bytes", "03 f8 020000 616263", "abc"],
    ["a literal with its length in 4 bytes", "03 fc 02000000 616263", "abc"],
    ["a copy with an 11-bit distance", "07 08 616263 01 03", "abcabca"],
    ["a copy with a 2-byte distance", "05 08 616263 06 0300", "abcab"],
    ["a copy with a 4-byte distance", "05 08 616263 07 03000000", "abcab"],
    ["a copy that goes on into what it writes", "06 04 6162 0e 0200", "ababab"],
  ])("reads %s", (_, hex, expected) => {
    expect(textOf(bytes(hex))).toBe(expected);
  });

  it("reads a copy from more than 255 bytes back", () => {
    const literal = new Random(1).bytes(300);
    const stream = Buffer.concat([bytes("b002 f4 2b01"), literal, bytes("21 2c")]);
    // Distance 0x12c = 300 in 11 bits: the upper three stand in the tag.
    expect(Buffer.from(snappyDecompress(stream)).subarray(300)).toEqual(Buffer.from(literal.subarray(0, 4)));
  });

  describe("rejects", () => {
    it.each([
      ["no length", "", "malformed message: it ends inside a field, at 0"],
      [
        "a length that so few bytes cannot stand for",
        "ffffff7f 00",
        "damaged Snappy data: the length is beyond what the rest can stand for at 0",
      ],
      ["a length of 2^32", "8080808010 00", "damaged Snappy data: the length is beyond what the rest can stand for at 0"],
      ["a literal that is cut off", "03 08 6162", "damaged Snappy data: an element goes beyond the data at 2"],
      ["a literal whose length is cut off", "03 fc 02", "damaged Snappy data: an element goes beyond the data at 6"],
      ["a copy whose distance is cut off", "05 08 616263 06 03", "damaged Snappy data: an element goes beyond the data at 8"],
      ["a copy from before the start", "05 08 616263 06 0400", "damaged Snappy data: an element goes beyond the data at 8"],
      ["a copy from nowhere", "05 08 616263 06 0000", "damaged Snappy data: an element goes beyond the data at 8"],
      ["more than the length says", "04 08 616263 06 0300", "damaged Snappy data: an element goes beyond the data at 8"],
      ["less than the length says", "06 08 616263 06 0300", "damaged Snappy data: expected 6 bytes, got 5 at 8"],
    ])("%s", (_, hex, message) => {
      expect(() => snappyDecompress(bytes(hex))).toThrow(expect.objectContaining({ name: "FormatError", message }));
    });

    it("random bytes, with a FormatError and without much memory", () => {
      const random = new Random(7);
      for (let round = 0; round < 5000; round++) {
        const input = random.bytes(random.below(60));
        try {
          expect(snappyDecompress(input).length).toBeLessThanOrEqual(input.length * 22);
        } catch (error) {
          expect(isServingError(error, "FormatError"), String(error)).toBe(true);
        }
      }
    });
  });
});
