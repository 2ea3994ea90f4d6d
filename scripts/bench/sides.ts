/** Two ways to do the same, each in a process of its own, so that neither meets the other's garbage; they run in turn. */
import type { ChildProcess } from "node:child_process";
import { interleaved } from "./compare.js";
import { messageFrom, sendToParent, startProgram } from "./processes.js";

/** What the parent of two sides learns. */
export interface SidesResult {
  /** What each side sent first. */
  readonly first: { readonly ours: unknown; readonly theirs: unknown };
  /** Time of a run, one for each round. */
  readonly times: { readonly ours: readonly number[]; readonly theirs: readonly number[] };
}

/** Start `PROGRAM-process.ts` twice, with the id and the name of a side, and run rounds of both. */
export async function sidesInTurn(
  program: string,
  id: string,
  [ours, theirs]: readonly [string, string],
  rounds: number,
  execArgv: readonly string[] = [],
): Promise<SidesResult> {
  const sides = { ours: startProgram(program, [id, ours], execArgv), theirs: startProgram(program, [id, theirs], execArgv) };
  const [ourFirst, theirFirst] = await Promise.all([messageFrom(sides.ours), messageFrom(sides.theirs)]);
  const times = await interleaved({ ours: () => roundOf(sides.ours), theirs: () => roundOf(sides.theirs) }, rounds);
  sides.ours.disconnect();
  sides.theirs.disconnect();
  return { first: { ours: ourFirst, theirs: theirFirst }, times };
}

function roundOf(side: ChildProcess): Promise<number> {
  const time = messageFrom(side);
  side.send("round");
  return time as Promise<number>;
}

/** In the process of a side: say that it is ready, then time a run whenever the parent asks. */
export function serveRounds(first: unknown, timeOfRun: () => number): void {
  process.on("message", () => sendToParent(timeOfRun()));
  sendToParent(first);
}
