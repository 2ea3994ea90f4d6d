import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { halfPlusTwo } from "../scripts/demo-models.js";
import { PredictionClient } from "../src/client/prediction-client.js";
import { type ModelServer, startModelServer } from "../src/server/index.js";
import { examplesIn, outputOf } from "./support/page-examples.js";

const examples = examplesIn("docs/model-config.md");

/** What each example prints, in the order of the page. */
const printed = [
  "{ specific: [ 1n, 2n ] }\nerror models[0].basePath\n",
  'ModelServerConfig, line 2, column 12: model_config_list.config.nam: unknown field "nam" for message tensorflow.serving.ModelConfig\n',
  "max_batch_size: {\n  value: 128\n}\nbatch_timeout_micros: {\n  value: 1000\n}\nallowed_batch_sizes: 32\nallowed_batch_sizes: 128\n\n",
  'load version 2 of model "half_plus_two"\n' +
    'set label "stable" of model "half_plus_two" on version 2\n' +
    "[\n  { model: 'half_plus_two', version: 1n },\n  { model: 'half_plus_two', version: 2n }\n]\n",
];

describe("docs/model-config.md", () => {
  let server: ModelServer;
  beforeAll(async () => {
    server = await startModelServer({ models: { half_plus_two: { 1: halfPlusTwo, 2: halfPlusTwo } } });
    const client = new PredictionClient(server.grpcTarget);
    const model = { name: "half_plus_two", basePath: "/models/half_plus_two", modelPlatform: "tensorflow" };
    await client.reloadConfig({ models: [{ ...model, versionPolicy: { specific: [1n] } }] });
    await client.close();
  });
  afterAll(() => server.close());

  it("has an expected output for each example", () => {
    expect(examples).toHaveLength(printed.length);
  });

  it.each(printed.map((output, index) => [index, output] as const))("example %i runs and prints what it should", async (index, output) => {
    expect(await outputOf(examples[index] ?? "", { "8500": `${server.grpcPort}` })).toBe(output);
  });
});
