import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AnyTensor, isServingError, PredictionClient } from "../../src/index.js";
import { createInMemoryTransport } from "../../src/server/index.js";
import { type RecordedCase, recordedCases } from "../parity/recorded-cases.js";
import { exchanges } from "../server/golden-exchanges.js";
import { startCannedRestServer } from "../support/canned-rest-server.js";
import { contractFolders, contractModels } from "./contract-models.js";

/** What JavaScript does not do as TensorFlow does, and the suite does not look at. */
const beyond: ReadonlySet<string> = new Set([
  "dtype_zoo/bfloat16_edge", // Arithmetic of TensorFlow turns subnormal numbers into 0.
  "dtype_zoo/complex64_edge", // A sum with a NaN part is NaN in both parts.
  "dtype_zoo/complex128_edge",
  "half_plus_two/garbage_example", // The client reads examples and refuses this one itself.
]);

const cases = recordedCases().filter(({ id, model }) => contractFolders.includes(model) && !beyond.has(id));

/** Numbers of all outputs in one list, and everything else as it is. */
function split(outputs: Readonly<Record<string, AnyTensor>>) {
  const numbers: number[] = [];
  const rest = Object.keys(outputs)
    .sort()
    .map((name) => {
      const { dtype, shape, values } = outputs[name] as AnyTensor;
      const others = Array.from(values as ArrayLike<unknown>, (value) => {
        if (typeof value !== "number" || !Number.isFinite(value)) return value instanceof Uint8Array ? [...value] : value;
        numbers.push(value);
        return "number";
      });
      return { name, dtype, shape, others };
    });
  return { numbers, rest };
}

function expectClose(actual: readonly number[], expected: readonly number[]): void {
  expect(actual).toHaveLength(expected.length);
  const largest = Math.max(1, ...expected.map(Math.abs));
  for (const [index, want] of expected.entries()) expect(Math.abs((actual[index] ?? Number.NaN) - want)).toBeLessThan(1e-6 * largest);
}

describe("the JavaScript models of the contract suite", () => {
  const client = new PredictionClient(createInMemoryTransport(contractModels().models));
  afterAll(() => client.close());

  /** The recorded call in the method that its signature is for; those over examples as the outputs the graph would have. */
  async function call({ model, version, signatureName, inputs, outputFilter }: RecordedCase): Promise<unknown> {
    const spec = { name: model, version, signatureName };
    const examples = inputs["inputs"]?.as("string").values ?? [];
    if (signatureName.startsWith("classify")) return (await client.classify(spec, examples)).results.flat();
    if (signatureName.startsWith("regress")) return (await client.regress(spec, examples)).results;
    // What `slow` computes takes a graph; the suite does not look at it.
    const filter = model === "slow" ? ["y", "steps"] : outputFilter;
    return (await client.model(spec, { check: false }).predict(inputs, { outputFilter: filter })).outputs;
  }

  it.each(cases.map((one) => [one.id, one] as const))("answer as TensorFlow did: %s", async (_id, one) => {
    const { expected, signatureName } = one;
    const outcome: unknown = await call(one).catch((error: unknown) => error);
    if ("code" in expected) return expect(isServingError(outcome) ? outcome.code : outcome).toBe(expected.code);
    if (outcome instanceof Error) throw outcome;
    const { classes, scores, outputs } = expected.outputs;
    if (signatureName.startsWith("classify")) {
      const results = outcome as { label: string; score: number }[];
      const given = results.map(({ score }) => score);
      if (scores !== undefined) expectClose(given, Array.from(scores.as("float32").values));
      if (classes !== undefined) expect(results.map(({ label }) => label)).toEqual(classes.as("string").strings());
    } else if (outputs !== undefined) {
      expectClose(outcome as number[], Array.from(outputs.as("float32").values));
    } else {
      const { checksum: _unknown, ...wanted } = expected.outputs;
      const actual = split(outcome as Record<string, AnyTensor>);
      expect(actual.rest).toEqual(split(wanted).rest);
      expectClose(actual.numbers, split(wanted).numbers);
    }
  });
});

describe("the signatures of the contract's models", () => {
  const client = new PredictionClient(createInMemoryTransport(contractModels().models));
  let canned: Awaited<ReturnType<typeof startCannedRestServer>>;
  let recorded: PredictionClient;
  beforeAll(async () => {
    const metadata = new Map(exchanges("metadata-status").map(({ id, response }) => [id, response.body]));
    canned = await startCannedRestServer(({ target }) => {
      return { status: 200, body: metadata.get(`metadata-status/rest/metadata_${target.split("/")[3]}`) ?? "" };
    });
    recorded = new PredictionClient(canned.url);
  });
  afterAll(async () => {
    await Promise.all([client.close(), recorded.close()]);
    await canned.close();
  });

  it.each(contractFolders)("are those a real server gave for %s", async (model) => {
    const [ours, theirs] = await Promise.all([client.getModelMetadata(model), recorded.getModelMetadata(model)]);
    expect(ours.signatures).toEqual(theirs.signatures);
  });
});
