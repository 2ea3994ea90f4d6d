/** Peers that misbehave: every call settles with a documented error, in time, and leaves nothing behind. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { faultDifferences, runFault } from "./fault-case.js";
import { isExpected, markdownPart, outcomesIn, suites } from "./fault-list.js";

const page = readFileSync(new URL("../../docs/reliability.md", import.meta.url), "utf8");

describe.each(Object.entries(suites))("a %s peer that", (_suite, cases) => {
  it.each(cases.map((faultCase) => [faultCase.name, faultCase] as const))("%s", async (_name, faultCase) => {
    expect(faultDifferences(faultCase, await runFault(faultCase))).toEqual([]);
  });
});

describe.each(Object.entries(suites))("the %s cases", (suite, cases) => {
  it("have 30 names and more, each another one", () => {
    expect(cases.length).toBeGreaterThanOrEqual(30);
    expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
  });

  it("stand in docs/reliability.md as npm run faults -- --markdown prints them, with what is expected", () => {
    const listed = outcomesIn(page, suite);
    expect(listed.map(([name]) => name)).toEqual(cases.map(({ name }) => name));
    expect(cases.filter(({ expected }, index) => !isExpected(listed[index]?.[1] ?? "", expected)).map(({ name }) => name)).toEqual([]);
    expect(page).toContain(markdownPart(suite, listed));
  });
});
