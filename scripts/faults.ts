/**
 * `npm run faults [-- --transport grpc|rest|grpcs|https] [--markdown]`: what a call comes to when its peer misbehaves, one line for each case of
 * test/faults, or the tables of docs/reliability.md. Ends with status 1 if one comes to something else than expected.
 */
import { parseArgs } from "node:util";
import { type FaultCase, type FaultOutcome, faultDifferences, runFault } from "../test/faults/fault-case.js";
import { markdownPart, outcomeText, printable, suites } from "../test/faults/fault-list.js";

const { values: options } = parseArgs({ options: { transport: { type: "string" }, markdown: { type: "boolean", default: false } } });
if (options.transport !== undefined && suites[options.transport] === undefined) {
  console.error(`--transport: expected ${Object.keys(suites).join(", ")}, got ${options.transport}`);
  process.exit(2);
}

const failures: string[] = [];
let count = 0;
for (const [suite, cases] of Object.entries(suites)) {
  if (suite !== (options.transport ?? suite)) continue;
  const outcomes: [name: string, text: string][] = [];
  if (!options.markdown) console.log(`\n${suite}`);
  for (const faultCase of cases) {
    const outcome = await runFault(faultCase);
    outcomes.push([faultCase.name, outcomeText(outcome)]);
    if (!options.markdown) console.log(row(outcomes.length, faultCase, outcome));
    const differences = faultDifferences(faultCase, outcome);
    if (differences.length > 0) failures.push(`${suite}: ${faultCase.name}: ${printable(differences.join("; "))}`);
  }
  if (options.markdown) console.log(markdownPart(suite, outcomes));
  count += cases.length;
}
console.error(`${count} cases, ${failures.length} other than expected`);
for (const failure of failures) console.error(failure);
process.exitCode = failures.length === 0 ? 0 : 1;

function row(number: number, { name }: FaultCase, outcome: FaultOutcome): string {
  const time = outcome.elapsedMs.toFixed(0).padStart(5);
  return `${String(number).padStart(3)} ${time} ms  ${name.padEnd(72)}  ${outcomeText(outcome)}`;
}
