/**
 * `npx tsx scripts/bench/tfrecord-memory.ts [RECORDS]`: writes and reads 1 KB records, a million by default, and fails (exit code 1) where
 * that takes more than 150 MB of resident memory or records are lost. Prints JSON; `test/warmup/tfrecord.test.ts` runs it with fewer.
 */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { readTFRecords, TFRecordWriter } from "../../src/warmup/tfrecord.js";

/** Resident memory of the whole process at most. */
const maxPeakMb = 150;
const records = Number(process.argv[2] ?? 1_000_000);
const record = new Uint8Array(1_000).map((_, i) => i * 7);
const folder = mkdtempSync(`${tmpdir()}/tfrecord-`);
const path = `${folder}/records`;

/** Resident memory of this process so far at most, in MB. */
function peakMb(): number {
  return Math.round(process.resourceUsage().maxRSS / 1024);
}

async function write(): Promise<void> {
  await using writer = new TFRecordWriter(path);
  for (let i = 0; i < records; i++) await writer.write(record);
}

async function read(): Promise<number> {
  let count = 0;
  for await (const { length } of readTFRecords(path)) if (length === record.length) count++;
  return count;
}

try {
  const startMb = peakMb();
  const startMs = performance.now();
  await write();
  const writtenMs = performance.now();
  const count = await read();
  const readMs = performance.now();
  if (count !== records || peakMb() > maxPeakMb) process.exitCode = 1;
  const mbPerSecond = (ms: number) => Math.round(statSync(path).size / 1000 / ms);
  console.log(
    JSON.stringify({
      records: count,
      startMb,
      peakMb: peakMb(),
      maxPeakMb,
      writeMbPerSecond: mbPerSecond(writtenMs - startMs),
      readMbPerSecond: mbPerSecond(readMs - writtenMs),
    }),
  );
} finally {
  rmSync(folder, { recursive: true });
}
