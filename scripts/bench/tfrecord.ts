/** `npm run bench -- tfrecord`: checksums and TFRecord files, against @aws-crypto/crc32c; each side in a process of its own. */
import { type BenchOptions, type GateValues, median, medianRatio } from "./compare.js";
import { sidesInTurn } from "./sides.js";

/** What is compared, by the gate's id. */
const cases = {
  C1: "CRC-32C of 100 KB",
  C2: "a TFRecord chunk of 256 records of 1 KB; the same writer with the other checksum",
} as const;

/** The id of a case. */
export type TFRecordCase = keyof typeof cases;

/** Whose checksum runs. */
export type TFRecordSide = "tfserving" | "aws-crypto";

/** Measure every case. */
export async function benchTFRecord({ quick }: BenchOptions): Promise<GateValues> {
  console.log("tfrecord: baseline @aws-crypto/crc32c");
  const values: Record<string, number> = {};
  for (const id of Object.keys(cases) as TFRecordCase[]) values[id] = await benchCase(id, quick ? 7 : 15);
  return values;
}

async function benchCase(id: TFRecordCase, rounds: number): Promise<number> {
  const { first, times } = await sidesInTurn("tfrecord", id, ["tfserving", "aws-crypto"], rounds);
  const ratio = medianRatio(times.theirs, times.ours);
  const [ours, theirs] = [times.ours, times.theirs].map((all) => (Number(first.ours) / median(all) / 1000).toFixed(0));
  console.log(`  ${id} ${cases[id]}: ${ratio.toFixed(1)}x, ${ours} MB/s against ${theirs} MB/s`);
  return ratio;
}
