/** The list of all fault cases, as `npm run faults` prints it and `docs/reliability.md` keeps it. */
import type { FaultCase, FaultExpectation, FaultOutcome } from "./fault-case.js";
import { grpcCases } from "./grpc-cases.js";
import { restCases } from "./rest-cases.js";
import { grpcTlsCases, restTlsCases } from "./tls-cases.js";

/** All cases by their part of the list. */
export const suites: Readonly<Record<string, readonly FaultCase[]>> = {
  grpc: grpcCases,
  rest: restCases,
  grpcs: grpcTlsCases,
  https: restTlsCases,
};

/** How much of a message stands in the list. */
const maxTextLength = 110;

/** What a call came to: class and code, and the server's or our words without what every message begins with. */
export function outcomeText({ name, code, message }: FaultOutcome): string {
  if (code === undefined) return name === "success" ? "succeeds" : `${name}: ${printable(message)}`;
  const words = lastingText(message.replace(/^[A-Z_]+: \w+ half_plus_two\S*: /, ""));
  return `${name} ${code}: ${printable(words.length > maxTextLength ? `${words.slice(0, maxTextLength)}...` : words)}`;
}

/** Whether the list says of a call what is expected of it; its words may be others than those of the last run. */
export function isExpected(text: string, expected: FaultExpectation): boolean {
  if ("succeeds" in expected) return text === "succeeds";
  return [expected.code].flat().some((code) => text.startsWith(`${expected.name} ${code}:`));
}

/** A part of the list in Markdown, from what the calls came to. */
export function markdownPart(suite: string, outcomes: readonly (readonly [name: string, text: string])[]): string {
  const rows = outcomes.map(([name, text], index) => [String(index + 1), cell(name), cell(text)]);
  return `### ${suite}\n\n${markdownTable([["#", "The peer", "The call"], ...rows])}\n`;
}

/** The rows of a part: what {@link markdownPart} was given. */
export function outcomesIn(markdown: string, suite: string): (readonly [name: string, text: string])[] {
  const [, part = ""] = markdown.split(`\n### ${suite}\n`);
  const lines = (part.split(/\n##+ /)[0] ?? "").split("\n").filter((line) => /^\| \d/.test(line));
  return lines.map((line) => {
    const [, , name = "", text = ""] = line.split(/(?<!\\)\|/).map((one) => one.trim().replace(/\\(.)/g, "$1"));
    return [name, text];
  });
}

/** A text from the wire without what would move the cursor or colour the screen. */
export function printable(text: string): string {
  return text.replace(/\p{C}/gu, (character) => `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`);
}

/** A text without what differs from run to run and from Node to Node: ports, moments, durations, and places in OpenSSL. */
function lastingText(text: string): string {
  return text
    .replace(/127\.0\.0\.1:\d+/g, "127.0.0.1:<port>")
    .replace(/ \(\d{4}-[\d:.TZ-]+\)/g, "")
    .replace(/[\dA-F]+:error:[\dA-F]+:SSL routines:\w*:([^:]+):[^:]+:\d+:/g, "$1, ")
    .replace(/, (?=:|$)/g, "")
    .replace(/(Deadline exceeded) after .*?(,?Waiting for LB pick.*)?$/, "$1$2");
}

/** A text as a cell of a Markdown table. */
function cell(text: string): string {
  return text.replace(/[\\|<>`*_[\]]/g, "\\$&");
}

/** Rows of which the first is the head, as Biome formats them. */
function markdownTable(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_head, column) => Math.max(3, ...rows.map((row) => row[column]?.length ?? 0)));
  const [head = "", ...lines] = rows.map((row) => `| ${row.map((text, column) => text.padEnd(widths[column] ?? 0)).join(" | ")} |`);
  return [head, `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...lines].join("\n");
}
