import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readTar, type TarLimits, tarLimitsDefaults } from "../../../src/codegen/protos/tar.js";
import { isServingError } from "../../../src/errors.js";
import { paxRecord, type TarEntry, tarOf } from "./tar-of.js";

async function* inChunks(bytes: Uint8Array, chunkBytes: number): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += chunkBytes) yield bytes.subarray(start, start + chunkBytes);
}

async function protosIn(archive: Uint8Array, limits: TarLimits = tarLimitsDefaults, chunkBytes = 700): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  const options = { name: "a.tar", isWanted: (path: string) => path.endsWith(".proto"), limits };
  for await (const { path, bytes } of readTar(inChunks(archive, chunkBytes), options)) found[path] = Buffer.from(bytes).toString();
  return found;
}

const long = `${"folder-with-a-long-name/".repeat(9)}x.proto`;

describe("readTar", () => {
  it.each([1, 511, 512, 100_000])("gives the wanted files, in chunks of %i bytes", async (chunkBytes) => {
    const archive = tarOf([
      { path: "t/", type: "5" },
      { path: "./t/a.proto", content: "a".repeat(600) },
      { path: "t/b.txt", content: "b".repeat(513) },
      { path: "t/empty.proto" },
      { path: "t/c.proto", content: "c", type: "\0" },
    ]);
    expect(await protosIn(archive, tarLimitsDefaults, chunkBytes)).toEqual({
      "t/a.proto": "a".repeat(600),
      "t/empty.proto": "",
      "t/c.proto": "c",
    });
  });

  it.each<[string, TarEntry[]]>([
    ["a pax record", [{ path: "pax", type: "x", content: paxRecord("mtime", "1.5") + paxRecord("path", long) }]],
    ["GNU tar's long name", [{ path: "././@LongLink", type: "L", content: `${long}\0` }]],
  ])("takes the path of the next entry from %s", async (_what, before) => {
    const archive = tarOf([...before, { path: "short.txt", content: "x" }, { path: "y.proto", content: "y" }]);
    expect(await protosIn(archive)).toEqual({ [long]: "x", "y.proto": "y" });
  });

  it("takes the size of the next entry from a pax record", async () => {
    const archive = tarOf([
      { path: "pax", type: "x", content: paxRecord("size", "3") },
      { path: "a.proto", content: "abc", size: "00000000000\0" },
      { path: "b.proto", content: "b" },
    ]);
    expect(await protosIn(archive)).toEqual({ "a.proto": "abc", "b.proto": "b" });
  });

  it("takes both from two extended headers", async () => {
    const archive = tarOf([
      { path: "pax", type: "x", content: paxRecord("size", "3") },
      { path: "././@LongLink", type: "L", content: `${long}\0` },
      { path: "short.txt", content: "abc", size: "00000000000\0" },
    ]);
    expect(await protosIn(archive)).toEqual({ [long]: "abc" });
  });

  it.each<[string, TarEntry]>([
    ["a long name of a link", { path: "././@LongLink", type: "K", content: "elsewhere\0" }],
    ["records for all entries", { path: "pax_global_header", type: "g", content: paxRecord("path", "other.proto") }],
  ])("keeps a long name across %s", async (_what, between) => {
    const name = { path: "././@LongLink", type: "L", content: `${long}\0` };
    expect(await protosIn(tarOf([name, between, { path: "short.txt", content: "x" }]))).toEqual({ [long]: "x" });
  });

  it("passes links over, wherever they point", async () => {
    const archive = tarOf([
      { path: "a.proto", type: "2" },
      { path: "b.proto", type: "1" },
      { path: "c.proto", content: "c" },
    ]);
    expect(await protosIn(archive)).toEqual({ "c.proto": "c" });
  });

  describe.skipIf(spawnSync("tar", ["--version"]).status !== 0)("with archives of the program tar", () => {
    let folder: string;
    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), "tfserving-tar-"));
      for (const path of ["a.proto", long]) {
        mkdirSync(join(folder, "top", dirname(path)), { recursive: true });
        writeFileSync(join(folder, "top", path), path);
      }
    });
    afterAll(() => rmSync(folder, { recursive: true, force: true }));

    it.each(["ustar", "pax", "gnu"])("reads the format %s", async (format) => {
      const archive = execFileSync("tar", ["-C", folder, `--format=${format}`, "-cf", "-", "top"]);
      expect(await protosIn(archive)).toEqual({ "top/a.proto": "a.proto", [`top/${long}`]: long });
    });
  });

  describe("rejects", () => {
    const whole = tarOf([{ path: "a.proto", content: "a".repeat(600) }]);
    const damaged = Buffer.from(whole);
    damaged[0] = 0x62;
    const refusalOf = async (archive: Uint8Array, limits?: TarLimits) => {
      const error = await protosIn(archive, limits).catch((caught: unknown) => caught);
      return isServingError(error, "FormatError") && error.message;
    };

    it.each<[string, Uint8Array, RegExp]>([
      ["an empty archive", new Uint8Array(), /a\.tar: the archive ends early/],
      ["an archive that ends in a header", whole.subarray(0, 300), /ends early, 212 bytes or more are missing/],
      ["an archive that ends in a file", whole.subarray(0, 1000), /ends early, 112 bytes or more are missing/],
      ["an archive that ends after a file", whole.subarray(0, 1536), /ends early/],
      ["a damaged header", damaged, /a\.tar: expected a tar header with checksum \d+, got \d+/],
      ["what is no archive", Buffer.from("<html>".repeat(200)), /expected a tar header/],
      ["a path with ..", tarOf([{ path: "t/../../x.proto" }]), /a\.tar: "t\/\.\.\/\.\.\/x\.proto" leads out of the archive/],
      ["a path with .. of a file that is not wanted", tarOf([{ path: "../x.txt" }]), /leads out/],
      ["an absolute path", tarOf([{ path: "/etc/x.proto" }]), /"\/etc\/x\.proto" leads out/],
      ["a path of Windows", tarOf([{ path: "t\\..\\x.proto" }]), /leads out/],
      ["a drive", tarOf([{ path: "C:x.proto" }]), /leads out/],
      ["a pax path with ..", tarOf([{ path: "p", type: "x", content: paxRecord("path", "../x.proto") }, { path: "x" }]), /leads out/],
      ["a damaged pax record", tarOf([{ path: "p", type: "x", content: "99 path=x\n" }]), /damaged pax record/],
      ["a pax record without end", tarOf([{ path: "p", type: "x", content: "path" }]), /damaged pax record/],
      ["a pax size that is none", tarOf([{ path: "p", type: "x", content: paxRecord("size", "-1") }]), /expected the size of a file/],
      ["a size that is none", tarOf([{ path: "a", size: "99999999999\0" }]), /expected the size of a file in octal/],
    ])("%s", async (_what, archive, message) => {
      expect(await refusalOf(archive)).toMatch(message);
    });

    const small = (path: string): TarEntry => ({ path, content: "s".repeat(250) });
    it.each<[string, TarEntry[], RegExp]>([
      ["too many entries", [{ path: "a" }, { path: "b" }, { path: "c" }], /more than 2 entries/],
      ["too large a file", [{ path: "a.proto", content: "a".repeat(301) }], /a\.proto of 301 bytes/],
      ["too large files together", [small("a.proto"), small("b.proto")], /files of more than 400 bytes/],
      ["too long a name", [{ path: "p", type: "L", content: "p".repeat(301) }], /an extended header of 301 bytes/],
    ])("%s", async (_what, entries, message) => {
      expect(await refusalOf(tarOf(entries), { maxEntries: 2, maxFileBytes: 300, maxTotalBytes: 400 })).toMatch(message);
    });
  });
});
