/** Peers that misbehave: every call settles with a documented error, in time, and leaves nothing behind. */
import { describe, expect, it } from "vitest";
import { type FaultCase, faultDifferences, runFault } from "./fault-case.js";
import { grpcCases } from "./grpc-cases.js";
import { restCases } from "./rest-cases.js";

const transports: readonly (readonly [string, readonly FaultCase[]])[] = [
  ["grpc", grpcCases],
  ["rest", restCases],
];

describe.each(transports)("a %s peer that", (_transport, cases) => {
  it.each(cases.map((faultCase) => [faultCase.name, faultCase] as const))("%s", async (_name, faultCase) => {
    expect(faultDifferences(faultCase, await runFault(faultCase))).toEqual([]);
  });
});

describe("the suite", () => {
  it.each(transports)("has 40 cases and more of %s, each of another name", (_transport, cases) => {
    expect(cases.length).toBeGreaterThanOrEqual(40);
    expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
  });
});
