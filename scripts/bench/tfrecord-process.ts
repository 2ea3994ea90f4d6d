/**
 * One side of one case of checksums: runs it for a while whenever the parent asks, and sends the time of a run in milliseconds. First it sends
 * the bytes of a run.
 *
 * Arguments: CASE SIDE.
 */
import { crc32c as theirCrc32c } from "@aws-crypto/crc32c";
import { crc32c, maskedCrc32c, maskedFrom } from "../../src/warmup/crc32c.js";
import { frameRecord, framingBytes } from "../../src/warmup/tfrecord.js";
import { serveRounds } from "./sides.js";
import type { TFRecordCase, TFRecordSide } from "./tfrecord.js";

const checksums = {
  tfserving: { crc32c, masked: maskedCrc32c },
  "aws-crypto": { crc32c: theirCrc32c, masked: (bytes: Uint8Array) => maskedFrom(theirCrc32c(bytes)) },
};

const [id, side] = process.argv.slice(2) as [TFRecordCase, TFRecordSide];
const checksum = checksums[side];
const data = new Uint8Array(id === "C1" ? 100_000 : 1000).map((_, i) => (i * 131) ^ (i >> 7));
const records = 256;
const chunk = new Uint8Array(records * (data.length + framingBytes));

function layOutRecords(): void {
  let at = 0;
  while (at < chunk.length) at = frameRecord(data, chunk, at, checksum.masked);
}

const runs = {
  C1: { bytes: data.length, run: () => checksum.crc32c(data) },
  C2: { bytes: records * data.length, run: layOutRecords },
} satisfies Record<TFRecordCase, unknown>;

const roundMs = 200;

/** CPU time of one run in milliseconds: nothing here waits, so it is the time without what else the machine does. */
function timeOf(run: () => unknown): number {
  const [startMs, startCpu] = [performance.now(), process.cpuUsage()];
  let count = 0;
  for (; performance.now() - startMs < roundMs; count++) run();
  const { user, system } = process.cpuUsage(startCpu);
  return (user + system) / 1000 / count;
}

const { bytes, run } = runs[id];
// For V8 to compile what is hot.
timeOf(run);
serveRounds(bytes, () => timeOf(run));
