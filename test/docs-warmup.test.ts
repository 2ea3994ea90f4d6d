import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { halfPlusTwo } from "../scripts/demo-models.js";
import { type ModelServer, startModelServer } from "../src/server/index.js";
import { examplesIn, outputOf } from "./support/page-examples.js";

const examples = examplesIn("docs/warmup.md");

/** What each example prints, in the order of the page; later ones find what earlier ones wrote. */
const printed = [
  "3\n",
  "[]\n",
  "half_plus_two [ 1 ]\nhalf_plus_two [ 8 ]\nhalf_plus_two [ 32 ]\n",
  "3\n[ [ 3 ], [ 1 ] ]\n",
  "true\n".repeat(3),
  "34\n",
];

describe("docs/warmup.md", () => {
  let server: ModelServer;
  let folder: string;
  beforeAll(async () => {
    folder = mkdtempSync(`${tmpdir()}/docs-warmup-`);
    const model = new URL("fixtures/saved_models/half_plus_two/00000123", import.meta.url);
    cpSync(fileURLToPath(model), `${folder}/models/half_plus_two/123`, { recursive: true });
    mkdirSync(`${folder}/recordings`);
    server = await startModelServer({ models: { half_plus_two: { 123: halfPlusTwo } } });
  });
  afterAll(async () => {
    rmSync(folder, { recursive: true });
    await server.close();
  });

  it("has an expected output for each example", () => {
    expect(examples).toHaveLength(printed.length);
  });

  it.each(printed.map((output, index) => [index, output] as const))("example %i runs and prints what it should", async (index, output) => {
    const replacements = { '"/models': `"${folder}/models`, '"/recordings': `"${folder}/recordings`, "8500": `${server.grpcPort}` };
    expect(await outputOf(examples[index] ?? "", replacements)).toBe(output);
  });
});
