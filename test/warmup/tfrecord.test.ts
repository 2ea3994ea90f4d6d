import { execFile } from "node:child_process";
import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { createGunzip, createGzip } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type FormatError, isServingError } from "../../src/errors.js";
import { maskedCrc32c } from "../../src/warmup/crc32c.js";
import { type ReadTFRecordsOptions, readTFRecords, TFRecordWriter } from "../../src/warmup/tfrecord.js";

interface Entry {
  name: string;
  file: string;
  tfrecord_dataset: { records_read: number; error: { code: string; message: string } | null };
  record_b64?: string[];
}

const fixtures = fileURLToPath(new URL("../fixtures/tfrecord/", import.meta.url));
const { entries } = JSON.parse(readFileSync(`${fixtures}index.json`, "utf8")) as { entries: Entry[] };

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(`${tmpdir()}/tfrecord-`);
});
afterAll(() => rmSync(folder, { recursive: true }));

/** What could be read, and the error at the end if there was one. */
async function read(source: string | AsyncIterable<Uint8Array>, options?: ReadTFRecordsOptions) {
  const records: Uint8Array[] = [];
  const iteration = (async () => {
    for await (const record of readTFRecords(source, options)) records.push(record);
  })();
  return { error: await iteration.catch((error: unknown) => error), records };
}

async function write(path: string, records: readonly Uint8Array[]): Promise<void> {
  await using writer = new TFRecordWriter(path);
  for (const record of records) await writer.write(record);
}

/** A file in pieces of so many bytes. */
async function* pieces(path: string, size: number) {
  const bytes = readFileSync(path);
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** Where a symbolic link leads; some of /proc/self/fd are gone by the time they are looked at. */
function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** Bytes that differ from record to record. */
function bytesOf(length: number, seed = 0): Uint8Array {
  return new Uint8Array(length).map((_, i) => i * 31 + seed);
}

describe("readTFRecords", () => {
  it.each(entries)("reads $file as TensorFlow does", async ({ file, tfrecord_dataset: { records_read, error: expected }, record_b64 }) => {
    const { error, records } = await read(fixtures + file);
    expect(records).toHaveLength(records_read);
    if (record_b64 !== undefined) expect(records).toEqual(record_b64.map((text) => new Uint8Array(Buffer.from(text, "base64"))));
    if (expected === null) return expect(error).toBeUndefined();
    expect(isServingError(error, "FormatError") && error.code).toBe(expected.code);
    expect((error as FormatError).offset).toBe(Number(/ at (\d+)/.exec(expected.message)?.[1]));
  });

  it.each(entries)('ends where the damage of $file begins with onCorrupt "stop"', async ({ file, tfrecord_dataset }) => {
    const { error, records } = await read(fixtures + file, { onCorrupt: "stop" });
    expect(error).toBeUndefined();
    expect(records).toHaveLength(tfrecord_dataset.records_read);
  });

  it.each(entries)("reads $file in pieces of any size", async ({ file }) => {
    const whole = await read(fixtures + file);
    for (const size of [1, 7, 12, 64]) {
      const { error, records } = await read(pieces(fixtures + file, size));
      expect(records).toEqual(whole.records);
      expect((error as FormatError | undefined)?.offset).toBe((whole.error as FormatError | undefined)?.offset);
    }
  });

  it("says what is damaged, and where", async () => {
    const messages = await Promise.all(
      ["data_flipped", "length_crc_flipped", "cut_in_data", "text_file"].map(async (name) => {
        const { error } = await read(`${fixtures}corrupt/${name}.tfrecord`);
        return (error as Error).message.replace(fixtures, "");
      }),
    );
    expect(messages).toMatchInlineSnapshot(`
      [
        "corrupt/data_flipped.tfrecord: record at 66: expected its data to have the checksum f3156ccd, got 462c2553",
        "corrupt/length_crc_flipped.tfrecord: record at 66: expected its length to have the checksum ecf14920, got ecf14960",
        "corrupt/cut_in_data.tfrecord: record at 66: expected 77 bytes, got 16: the file ends inside the record",
        "corrupt/text_file.tfrecord: record at 0: expected its length to have the checksum 20746f6e, got 82612a4f; is this a TFRecord file, and one without compression?",
      ]
    `);
  });

  it("reads a compressed file through a stream that decompresses it", async () => {
    const { records } = await read(`${fixtures}corrupt/base.tfrecord`);
    const unzipped = createGunzip();
    unzipped.end(readFileSync(`${fixtures}corrupt/gzip.tfrecord`));
    expect(await read(unzipped)).toEqual({ records, error: undefined });
  });

  it("yields records that are the caller's own", async () => {
    const { records } = await read(`${fixtures}three_kinds.tfrecord`);
    expect(records.map(({ length, buffer }) => [length, buffer.byteLength])).toEqual([50, 61, 79].map((length) => [length, length]));
  });

  it.skipIf(!existsSync("/proc/self/fd"))("closes the file of a reader that stops early", async () => {
    const path = `${fixtures}thousand.tfrecord`;
    const isOpen = () => readdirSync("/proc/self/fd").some((fd) => linkOf(`/proc/self/fd/${fd}`) === path);
    for await (const _record of readTFRecords(path)) {
      expect(isOpen()).toBe(true);
      break;
    }
    await vi.waitFor(() => expect(isOpen()).toBe(false));
  });

  it("takes no memory for data that is not there", async () => {
    const header = Buffer.from("ffffff7f0000000000000000", "hex");
    header.writeUInt32LE(maskedCrc32c(header.subarray(0, 8)), 8);
    const path = `${folder}/hostile`;
    writeFileSync(path, header);
    const before = process.memoryUsage().arrayBuffers;
    const { error } = await read(path);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * 2 ** 20);
    expect((error as Error).message).toBe(`${path}: record at 0: expected 2147483663 bytes, got 12: the file ends inside the record`);
  });

  it("reads and writes many records in less than 150 MB", async () => {
    // With a million records where it is run by hand; it fails above the 150 MB.
    const script = fileURLToPath(new URL("../../scripts/bench/tfrecord-memory.ts", import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, ["--import", "tsx", script, "100000"]);
    const { records, peakMb } = JSON.parse(stdout) as Record<"records" | "peakMb", number>;
    expect(records).toBe(100_000);
    // 100 MB of data went through, twice; Node and tsx alone take 75.
    expect(peakMb).toBeLessThan(150);
  });

  describe("rejects", () => {
    it("records above the limit, before it reads them", async () => {
      const { error, records } = await read(`${fixtures}three_kinds.tfrecord`, { maxRecordBytes: 60 });
      expect(records).toHaveLength(1);
      expect(error).toMatchObject({ name: "FormatError", offset: 66 });
      expect((error as Error).message).toContain("record at 66: expected a length of at most 60 (maxRecordBytes), got 61");
    });

    it("a file that does not exist", async () => {
      expect((await read(`${folder}/missing`)).error).toMatchObject({ code: "ENOENT" });
    });

    it("a stream of other pieces than bytes", async () => {
      const { error } = await read(
        (async function* () {
          yield "text" as never;
        })(),
      );
      expect((error as Error).message).toBe('TFRecords: expected pieces that are Uint8Arrays, got "text"');
    });

    it.each([
      [{ onCorrupt: "skip" }, 'onCorrupt: expected "throw" or "stop", got "skip"'],
      [{ maxRecordBytes: 1.5 }, "maxRecordBytes: expected a whole number from 0 up, got 1.5"],
      [{ maxRecords: 1 }, "maxRecords: unknown option, expected one of maxRecordBytes, onCorrupt"],
    ])("the options %o at once", (options, message) => {
      expect(() => readTFRecords("any", options as never)).toThrow(message);
    });
  });
});

describe("TFRecordWriter", () => {
  const intact = entries.filter(({ tfrecord_dataset, file }) => tfrecord_dataset.error === null && !/cut|garbage/.test(file));

  it.each(intact)("writes the records of $file as TensorFlow did", async ({ file }) => {
    const { records } = await read(fixtures + file);
    await write(`${folder}/copy`, records);
    expect(readFileSync(`${folder}/copy`)).toEqual(readFileSync(fixtures + file));
  });

  it("keeps records of all sizes in order, whether writes are awaited or not", async () => {
    const kb = 1024;
    const records = [0, 1, 300 * kb, 5, 256 * kb - 16, 256 * kb, 100 * kb, 100 * kb, 100 * kb, 3000 * kb, 0].map(bytesOf);
    await write(`${folder}/awaited`, records);
    const writer = new TFRecordWriter(`${folder}/hurried`);
    await Promise.all([...records.map((record) => writer.write(record)), writer.close()]);
    for (const name of ["awaited", "hurried"]) {
      const { records: kept } = await read(`${folder}/${name}`);
      expect(kept.length).toBe(records.length);
      expect(kept.map((record, i) => Buffer.compare(record, records[i] as Uint8Array))).toEqual(records.map(() => 0));
    }
  });

  it("takes a copy of what it writes", async () => {
    const path = `${folder}/changed`;
    const writer = new TFRecordWriter(path);
    const record = bytesOf(400_000);
    const written = writer.write(record);
    record.fill(0);
    await written;
    await writer.close();
    const { records } = await read(path);
    expect(records.map((kept) => Buffer.compare(kept, bytesOf(400_000)))).toEqual([0]);
  });

  it("has on the disk what came before sync", async () => {
    const path = `${folder}/synced`;
    await using writer = new TFRecordWriter(path);
    await writer.write(bytesOf(10));
    await writer.sync();
    expect((await read(path)).records).toEqual([bytesOf(10)]);
    await writer.write(bytesOf(20));
  });

  it("replaces the file that was there", async () => {
    const path = `${folder}/replaced`;
    writeFileSync(path, bytesOf(10_000));
    await write(path, []);
    expect(readFileSync(path)).toHaveLength(0);
  });

  it("writes to a stream that compresses, and ends it", async () => {
    const gzip = createGzip();
    const path = `${folder}/zipped`;
    const piped = pipeline(gzip, createWriteStream(path));
    const records = [10, 300_000, 0].map(bytesOf);
    const writer = new TFRecordWriter(gzip);
    for (const record of records) await writer.write(record);
    await writer.sync();
    await writer.close();
    await piped;
    const { records: kept } = await read(createReadStream(path).pipe(createGunzip()));
    expect(kept.map((record, i) => Buffer.compare(record, records[i] as Uint8Array))).toEqual([0, 0, 0]);
  });

  it("waits for a stream that is slow", async () => {
    const taken: (() => void)[] = [];
    const slow = new Writable({ write: (_chunk, _encoding, done) => void taken.push(done) });
    const writer = new TFRecordWriter(slow);
    await writer.write(bytesOf(300_000));
    const second = vi.fn();
    const written = writer.write(bytesOf(300_000)).then(second);
    await vi.waitFor(() => expect(taken).toHaveLength(1));
    expect(second).not.toHaveBeenCalled();
    taken[0]?.();
    await written;
    const closed = writer.close();
    await vi.waitFor(() => expect(taken).toHaveLength(2));
    taken[1]?.();
    await closed;
    expect(slow.writableFinished).toBe(true);
  });

  it("closes once", async () => {
    const writer = new TFRecordWriter(`${folder}/closed`);
    await Promise.all([writer.close(), writer.close()]);
    await writer.close();
  });

  describe("rejects", () => {
    it("records that are no bytes", async () => {
      await using writer = new TFRecordWriter(`${folder}/wrong`);
      await expect(writer.write("text" as never)).rejects.toThrow('record: expected a Uint8Array, got "text"');
      await expect(writer.write(new Float32Array(1) as never)).rejects.toThrow(TypeError);
    });

    it("records after close", async () => {
      const writer = new TFRecordWriter(`${folder}/closed`);
      await writer.close();
      await expect(writer.write(bytesOf(1))).rejects.toThrow("write: the TFRecordWriter is closed");
    });

    it.each([[undefined], [7], [{ write() {} }]])("%o as its target", (target) => {
      expect(() => new TFRecordWriter(target as never)).toThrow(/^target: expected a path or a Writable stream, got/);
    });

    it("what a stream fails with", async () => {
      const broken = new Writable({ write: (_chunk, _encoding, done) => done(new Error("broken")) });
      const writer = new TFRecordWriter(broken);
      await writer.write(bytesOf(1));
      await expect(writer.flush()).rejects.toThrow("broken");
      await expect(writer.close()).rejects.toThrow("broken");
    });

    it("a place that cannot be written to, with the system's error, from the first record on", async () => {
      const writer = new TFRecordWriter(`${folder}/missing/file`);
      await expect(writer.write(bytesOf(1))).rejects.toMatchObject({ code: "ENOENT" });
      await expect(writer.write(bytesOf(400_000))).rejects.toMatchObject({ code: "ENOENT" });
      await expect(writer.sync()).rejects.toMatchObject({ code: "ENOENT" });
      await expect(writer.close()).rejects.toMatchObject({ code: "ENOENT" });
    });

    it.skipIf(!existsSync("/dev/full"))("a full disk, at one of the next writes and at close", async () => {
      const writer = new TFRecordWriter("/dev/full");
      await writer.write(bytesOf(400_000));
      await expect(writer.write(bytesOf(400_000))).rejects.toMatchObject({ code: "ENOSPC" });
      await expect(writer.close()).rejects.toMatchObject({ code: "ENOSPC" });
    });
  });
});
