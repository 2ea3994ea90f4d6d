import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { readTable } from "../../../src/saved-model/checkpoint/table-file.js";
import { pathOf } from "../saved-model-fixtures.js";
import { type Entry, tableAround, tableOf } from "./table-writer.js";

/** A table of LevelDB 1.22 (plyvel 1.5.1) with Snappy and blocks of 512 bytes. */
const levelDbTable = Buffer.from(
  [
    "pQjoADMAbGF5ZXJfMDAwL2tlcm5lbC8uQVRUUklCVVRFUy9WQVJJQUJMRV9WQUxVRQEBAAAAAAAACCsIMS+GLgAAAgUtMAB2YWx1ZSAxIAgrEDKKZAAAAy42",
    "AAQyIAk+FDIgCCsYM4o+AAAELj4AADMNPhkIDAgrIDSKRgAABS5GAAA0DUZGCAAMCCsoNYpOAAAGLk4AADUNTmYIAAwIKzA2ilYAAAcuVgAANg1WhggADAgr",
    "ADeKXgAACAleDAgrCDiKLgAACQkuKawUOCAIKxA5ijYAAAouNgAAOQ3CFDkgBywbMY6NAgALLj8ABDEwDUAuCQAICCskjqgCAAwySQAAMRFJTgkACAgrLY7E",
    "AgANMlIAUcV2CQAICCs2juECAA4yWwBR2poJAAgIKwCO/wI4DwAAAAAAAAAAAAABAAAAAflUluCPCPBDADMJbGF5ZXJfMDE1L2tlcm5lbC8uQVRUUklCVVRF",
    "Uy9WQVJJQUJMRV9WQUxVRQEQAAAAAAAAdmFsdWUgMTUgCCsSNi+GNwAAEQU2ETcINiB2CUAUNiAIKxs3incAABIyQAAANxFAHQkMCCskOIpJAAATMkkAADgR",
    "SU4JAAwIKy05ilIAABQyUgAAORFScgkAEAcsNjIwilwAABUuXAAEMjANXJoJAAwIKwAximQAABYJZAwIKwkyii4AABcJLinAGDIyIAgrEjOKNwAAGDI3AAAz",
    "EckAM0EAADSKQAAAGTJAAAA0EUAdCQgIKySOwAIAGjJJAAA1EUlOCQAMCCstNoqbAAAbMlIAUdt2CQAICCs2jvYCABwyWwBR7ZoJAAgIKwCOEQM4HQAAAAAA",
    "AAAAAAABAAAAAXOiuDqiBvBDADMJbGF5ZXJfMDI5L2tlcm5lbC8uQVRUUklCVVRFUy9WQVJJQUJMRV9WQUxVRQEeAAAAAAAAdmFsdWUgMjkgBywSMzCKOAAA",
    "HwU3DTgMMzAgdgVBGDMwIAgrGzGKQAAAIDJAAAAxEUAdCQwIKyQyikkAACEySQAAMhFJTgkADAgrLTOKUgAAIjJSAAAzEVJyCQAMCCs2NIpbAAAjMlsAADQR",
    "W5YJAAwIKwA1imQAACQJZAwIKwk2ii4AACUJLi2/FDYgCCsSN4o3AAAmMjcAADcRyQA3If8AOIpAAAAnMkAAADgRQB0JCAgrJI7AAgAoMkkAADkRSU4JABwA",
    "AAAAAQAAAAG1vzUnAAAAAAEAAAAAwPKhsJMByAAzA2xheWVyXzAxNC9rZXJuZWwvLkFUVFJJQlVURVMvVkFSSUFCTEVfVkFMVUUBDwAAAAECFMECADMEbAk5",
    "CDI4L4Y5AAAdATYsAADGArkCAAkEbQH/CQEMhAWHAgEaLDkAAABzAAAAAwAAAAHgqx3ekAcInQdvAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "AFf7gIskdUfb",
  ].join(""),
  "base64",
);

function entriesOf(file: Uint8Array): [key: string, value: string][] {
  return Array.from(readTable(file), ({ key, value }) => [
    Buffer.from(key).toString("latin1"),
    Buffer.from(value.bytes.subarray(value.position, value.end)).toString("latin1"),
  ]);
}

describe("readTable", () => {
  it("reads the compressed blocks that LevelDB wrote", () => {
    const entries = entriesOf(levelDbTable);
    // LevelDB adds 8 bytes with a sequence number to each key.
    expect(entries.map(([key, value]) => [key.slice(0, -8), value])).toEqual(
      Array.from({ length: 40 }, (_, i) => [
        `layer_${String(i).padStart(3, "0")}/kernel/.ATTRIBUTES/VARIABLE_VALUE`,
        `value ${i} `.repeat(i % 7),
      ]),
    );
  });

  it("reads the keys that TensorFlow wrote, in their order", () => {
    const entries = entriesOf(readFileSync(pathOf("tf1_saver", "1", "variables", "variables.index")));
    expect(entries.map(([key]) => key)).toEqual(["", "counter", "dense/bias", "dense/kernel"]);
  });

  it("reads a table without entries", () => {
    expect(entriesOf(tableOf([]))).toEqual([]);
  });

  it("reads a table that lies inside a larger buffer", () => {
    const table = tableOf([["a", Buffer.from("1")]]);
    const larger = Buffer.concat([Buffer.alloc(7), table, Buffer.alloc(7)]);
    expect(entriesOf(larger.subarray(7, -7))).toEqual([["a", "1"]]);
  });

  describe("rejects", () => {
    const one: Entry[] = [["a", Buffer.from("1")]];
    /** Entries of a block by their numbers and bytes, with a list of no restarts behind. */
    const raw = (...bytes: number[]) => tableAround(Uint8Array.from([...bytes, 0, 0, 0, 0]));
    const changed = (table: Uint8Array, at: number) => table.map((byte, i) => (i === (at + table.length) % table.length ? byte ^ 1 : byte));

    it.each([
      ["a file without a footer", new Uint8Array(47), "expected at least the 48 bytes of a footer, got 47 at 0"],
      ["another magic number", changed(tableOf(one), -1), "expected magic number db4775248b80fb57, got da4775248b80fb57 at 77"],
      ["a changed block", changed(tableOf(one), 4), /expected the block's checksum \d+, got \d+ at 0$/],
      ["another compression", tableOf(one, { compression: 2 }), "expected compression 0 (none) or 1 (Snappy), got 2 at 13"],
      ["one block named twice", tableOf(one, { blocks: 2 }), "a block that begins inside the one before at 0"],
      ["keys out of order", tableOf([...one, ["A", Buffer.from("2")]]), "keys out of order at 9"],
      ["a key twice", tableOf([...one, ...one]), "keys out of order at 9"],
      ["a block without its restarts", tableAround(Uint8Array.of(0, 0)), "a block too short for its list of restarts at 0"],
      [
        "more restarts than the block has room for",
        tableAround(Uint8Array.of(2, 0, 0, 0)),
        "a block too short for its list of restarts at 0",
      ],
      ["an entry that shares more than the key before has", raw(1, 0, 0), "an entry goes beyond its block at 0"],
      ["a key beyond the block", raw(0, 2, 0, 97), "an entry goes beyond its block at 0"],
      ["a value beyond the block", raw(0, 1, 2, 97, 98), "an entry goes beyond its block at 0"],
      ["a length of 2^32", raw(0, 0x80, 0x80, 0x80, 0x80, 0x10, 0), "an entry goes beyond its block at 0"],
    ])("%s", (_, table, message) => {
      const expected = typeof message === "string" ? `damaged table file: ${message}` : expect.stringMatching(message);
      expect(() => entriesOf(table)).toThrow(expect.objectContaining({ name: "FormatError", message: expected }));
    });

    it("keys that grow to more than 64 MiB, from a file of 1 MiB", () => {
      // One key of 512 KiB, then entries that each repeat it and add a byte.
      const keyBytes = 512 * 1024;
      const parts = [Buffer.from([0, 0x80, 0x80, 0x20, 0]), Buffer.alloc(keyBytes, "a")];
      for (let i = 0; i < 200; i++) parts.push(Buffer.from([0x80 | (i & 0x7f), 0x80 | (i >> 7), 0x20, 1, 0, 98]));
      parts.push(Buffer.alloc(4));
      expect(() => entriesOf(tableAround(Buffer.concat(parts)))).toThrow("expected keys of at most 67108864 bytes together, got more");
    });
  });
});
