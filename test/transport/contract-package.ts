/** The suite as a program: what `scripts/test-package.mjs` bundles and runs against the installed package, over each transport named. */
import { appliesOver, checkCase, titleOf } from "./contract.js";
import { contractCases } from "./contract-cases/all-cases.js";
import { embeddedTargets } from "./contract-targets.js";

const wanted = process.argv.slice(2);
for (const target of embeddedTargets.filter(({ transport }) => wanted.includes(transport))) {
  const context = await target.open();
  let passed = 0;
  for (const test of contractCases.filter((one) => appliesOver(target.transport, one))) {
    try {
      await checkCase(test, context, target.transport);
      passed++;
    } catch (error) {
      console.error(`FAILED ${target.transport}: ${titleOf(test)}\n`, error);
      process.exitCode = 1;
    }
  }
  await context.close();
  console.log(`${target.transport}: ${passed}`);
}
