import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { halfPlusTwo } from "../scripts/demo-models.js";
import { type ModelServer, startModelServer } from "../src/server/index.js";
import { examplesIn, outputOf } from "./support/page-examples.js";

const examples = examplesIn("README.md");

/** What each example prints, in the order of the README. */
const printed = [
  "Float32Array(3) [ 2.5, 3, 4.5 ]\n",
  "Float32Array(3) [ 2.5, 3, 4.5 ]\n",
  "[ [ [ 0, 0.5 ], [ 0.5, 1 ] ] ] BigInt64Array(2) [ 1n, 2n ] [ 'ann', 'bob' ]\n",
  "123n [ 2.5 ]\n",
  "Float32Array(3) [ 2.5, 3, 4.5 ]\n",
  "Float32Array(3) [ 2.5, 3, 4.5 ]\n",
];

describe("README", () => {
  let server: ModelServer;
  beforeAll(async () => {
    server = await startModelServer({ models: { half_plus_two: { 123: halfPlusTwo } } });
  });
  afterAll(() => server.close());

  it("has an expected output for each example", () => {
    expect(examples).toHaveLength(printed.length);
  });

  // The examples run as they stand, against the built package, except that the server listens on free ports.
  it.each(printed.map((output, index) => [index, output] as const))("example %i runs and prints what it should", async (index, output) => {
    const ports = { "8500": `${server.grpcPort}`, "8501": `${server.restPort}` };
    expect(await outputOf(examples[index] ?? "", ports)).toBe(output);
  });
});
