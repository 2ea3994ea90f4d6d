/** `npm run bench -- codec`: our codec against ts-proto's generated one, each side of a case in a process of its own (`codec-process.ts`). */
import { type BenchOptions, type GateValues, median, medianRatio } from "./compare.js";
import { sidesInTurn } from "./sides.js";

/** What is compared with ts-proto, by the gate's id. */
const cases = {
  E1: "encode float32 [1,784] into the frame, ts-proto number[]",
  E2: "the same, ts-proto tensor_content",
  D1: "decode float_val [1024,1000]",
  D3: "decode float_val [1,1000]",
  D5: "decode int64_val [1,128]",
} as const;

/** The id of a case. */
export type CodecCase = keyof typeof cases;

/** Whose code runs. */
export type CodecSide = "tfserving" | "ts-proto";

/** Measure every case. */
export async function benchCodec({ quick }: BenchOptions): Promise<GateValues> {
  console.log("codec: baseline ts-proto");
  const values: Record<string, number> = {};
  for (const id of Object.keys(cases) as CodecCase[]) values[id] = await benchCase(id, quick ? 9 : 25);
  return values;
}

async function benchCase(id: CodecCase, rounds: number): Promise<number> {
  const { times } = await sidesInTurn("codec", id, ["tfserving", "ts-proto"], rounds);
  const ratio = medianRatio(times.theirs, times.ours);
  const [ours, theirs] = [median(times.ours).toFixed(2), median(times.theirs).toFixed(2)];
  console.log(`  ${id} ${cases[id]}: ${ratio.toFixed(1)}x, ${ours} us against ${theirs} us`);
  return ratio;
}
