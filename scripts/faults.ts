/**
 * `npm run faults [-- --transport grpc|rest] [--markdown]`: what a call comes to when its peer misbehaves, one line for each case of
 * test/faults. Ends with status 1 if one comes to something else than expected.
 */
import { parseArgs } from "node:util";
import { type FaultCase, type FaultOutcome, faultDifferences, runFault } from "../test/faults/fault-case.js";
import { grpcCases } from "../test/faults/grpc-cases.js";
import { restCases } from "../test/faults/rest-cases.js";

/** How much of a message stands in the table. */
const maxTextLength = 110;

const { values: options } = parseArgs({ options: { transport: { type: "string" }, markdown: { type: "boolean", default: false } } });
const suites: Readonly<Record<string, readonly FaultCase[]>> = { grpc: grpcCases, rest: restCases };
if (options.transport !== undefined && suites[options.transport] === undefined) {
  console.error(`--transport: expected grpc or rest, got ${options.transport}`);
  process.exit(2);
}

const transports = options.transport === undefined ? Object.keys(suites) : [options.transport];
const failures: string[] = [];
let count = 0;
for (const transport of transports) {
  const cases = suites[transport] ?? [];
  printHead(transport);
  for (const [index, faultCase] of cases.entries()) {
    const outcome = await runFault(faultCase);
    count++;
    printRow(index + 1, faultCase, outcome);
    const differences = faultDifferences(faultCase, outcome);
    if (differences.length > 0) failures.push(`${transport}: ${faultCase.name}: ${printable(differences.join("; "))}`);
  }
}
console.log(`\n${count} cases, ${failures.length} other than expected`);
for (const failure of failures) console.error(failure);
process.exitCode = failures.length === 0 ? 0 : 1;

function printHead(transport: string): void {
  if (options.markdown) console.log(`\n### ${transport}\n\n| # | The peer | The call |\n| --: | --- | --- |`);
  else console.log(`\n${transport}`);
}

function printRow(number: number, { name }: FaultCase, outcome: FaultOutcome): void {
  const came = outcomeText(outcome);
  if (options.markdown) console.log(`| ${number} | ${cell(name)} | ${cell(came)} |`);
  else console.log(`${String(number).padStart(3)} ${outcome.elapsedMs.toFixed(0).padStart(5)} ms  ${name.padEnd(72)}  ${printable(came)}`);
}

/** Class and code, and the server's or our words without what every message begins with. */
function outcomeText({ name, code, message }: FaultOutcome): string {
  if (code === undefined) return name === "success" ? "succeeds" : `${name}: ${message}`;
  const words = lastingText(message.replace(/^[A-Z_]+: \w+ half_plus_two\S*: /, ""));
  return `${name} ${code}: ${words.length > maxTextLength ? `${words.slice(0, maxTextLength)}...` : words}`;
}

/** A text without what differs from run to run: ports, moments and durations. */
function lastingText(text: string): string {
  return text
    .replace(/127\.0\.0\.1:\d+/g, "127.0.0.1:<port>")
    .replace(/ \(\d{4}-[\d:.TZ-]+\)/g, "")
    .replace(/(Deadline exceeded) after .*?(,?Waiting for LB pick.*)?$/, "$1$2");
}

/** A text from the wire without what would move the cursor or colour the screen. */
function printable(text: string): string {
  return text.replace(/\p{C}/gu, (character) => `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`);
}

/** A text as a cell of a Markdown table. */
function cell(text: string): string {
  return printable(text).replace(/[\\|<>`*_[\]]/g, "\\$&");
}
