import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { halfPlusTwo } from "../scripts/demo-models.js";
import { type ModelServer, startModelServer } from "../src/server/index.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
const examples = [...readme.matchAll(/```js\n(.*?)```/gs)].map((match) => match[1] ?? "");

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
    const code = (examples[index] ?? "").replaceAll("8500", `${server.grpcPort}`).replaceAll("8501", `${server.restPort}`);
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", code], { cwd: root });
    expect(stdout).toBe(output);
  });
});
