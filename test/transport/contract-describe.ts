/** The suite as Vitest tests. */
import { afterAll, beforeAll, describe, it } from "vitest";
import { appliesOver, type ContractTarget, checkCase, reasonToSkip, titleOf } from "./contract.js";
import { contractCases } from "./contract-cases/all-cases.js";

/** Declare every case as a test over one target; where the target lacks something, as a skipped one that says what. */
export function describeContract(target: ContractTarget, where = ""): void {
  const over = `contract over ${target.transport}${where}`;
  const cases = contractCases.filter((test) => appliesOver(target.transport, test));
  const skipped = new Map(cases.map((test) => [test, reasonToSkip(test, target)]));
  for (const reason of new Set(skipped.values())) {
    const titles = cases.filter((test) => skipped.get(test) === reason).map(titleOf);
    if (reason !== undefined) reportSkipped(`${over}, ${titles.length} cases (${titles.join("; ")})`, reason);
  }

  describe(over, () => {
    let context: Awaited<ReturnType<ContractTarget["open"]>>;
    beforeAll(async () => {
      context = await target.open();
    });
    afterAll(() => context.close());
    for (const [test, reason] of skipped) {
      // Calls that fail change nothing for others, and many of them wait.
      const declare = test.kind === "ok" ? it : it.concurrent;
      if (reason === undefined) declare(titleOf(test), () => checkCase(test, context, target.transport));
      else it.skip(`${titleOf(test)} (${reason})`, () => undefined);
    }
  });
}

/** Say on a line of its own what is skipped, and why: Vitest prints no titles of skipped tests. */
export function reportSkipped(what: string, reason: string): void {
  process.stderr.write(`skipped: ${what}: ${reason}\n`);
}
