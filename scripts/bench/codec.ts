/** `npm run bench -- codec`: our codec against ts-proto's generated one, each case in a fresh process (`codec-process.ts`). */
import type { GateValues } from "./compare.js";
import { messageFrom, startProgram } from "./processes.js";

const cases = ["E1", "E2", "D1", "D3", "D5"] as const;

/** The id of a case, which is that of its gate. */
export type CodecCase = (typeof cases)[number];

/** Measure every case. */
export async function benchCodec(): Promise<GateValues> {
  const values: Record<string, number> = {};
  for (const id of cases) values[id] = (await messageFrom(startProgram("codec", [id]))) as number;
  return values;
}
