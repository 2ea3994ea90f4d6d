/** Ways to do the same, measured in turn: the machine's noise hits all of them, so the ratio of a round holds where times do not. */

/** What a bench measured, by the gate's id: the ratio that the gate is held against. */
export type GateValues = Readonly<Record<string, number>>;

/** How much a bench may take: `quick` is for the gates, with as few rounds as a median allows. */
export interface BenchOptions {
  readonly quick: boolean;
}

/** The middle value; of an even number of values, the upper of the two in the middle. */
export function median(values: readonly number[]): number {
  const middle = values.toSorted((a, b) => a - b)[values.length >> 1];
  if (middle === undefined) throw new Error("expected at least one value to take the median of, got none");
  return middle;
}

/** The median of each round's ratio: `tops[i] / bottoms[i]`. */
export function medianRatio(tops: readonly number[], bottoms: readonly number[]): number {
  return median(tops.map((top, round) => top / (bottoms[round] as number)));
}

/** Run every variant once in each round, in turn, starting with another one each time; the results of each variant, one per round. */
export async function interleaved<Name extends string, Result>(
  variants: Readonly<Record<Name, () => Promise<Result> | Result>>,
  rounds: number,
): Promise<Record<Name, Result[]>> {
  const names = Object.keys(variants) as Name[];
  const results = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<Name, Result[]>;
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(round + turn) % names.length] as Name;
      results[name].push(await variants[name]());
    }
  }
  return results;
}
