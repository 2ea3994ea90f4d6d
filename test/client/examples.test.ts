import { describe, expect, it } from "vitest";
import { PredictionClient } from "../../src/client/prediction-client.js";
import { EchoTransport } from "../support/echo-transport.js";

const examples = [{ age: 35n, pos: [1.5, 2], city: "Bern" }];
const features = {
  age: { kind: "int64", values: [35n] },
  pos: { kind: "float", values: [1.5, 2] },
  city: { kind: "bytes", values: [new TextEncoder().encode("Bern")] },
};

function setUp() {
  const transport = new EchoTransport();
  return { transport, client: new PredictionClient(transport) };
}

describe.each(["classify", "regress"] as const)("%s", (method) => {
  it("sends checked features and the shared context", async () => {
    const { transport, client } = setUp();
    const signal = new AbortController().signal;
    const result = await client[method]({ name: "m", signatureName: "s" }, examples, {
      context: { age: 1n },
      metadata: { "x-a": "1" },
      timeoutMs: 1000,
      signal,
    });
    expect(result.results).toEqual(method === "classify" ? [[{ label: "a", score: 0.5 }]] : [1.5]);
    const [sent] = transport.inferences;
    expect(sent?.about).toEqual({ name: "m", signatureName: "s" });
    expect(sent?.examples.map((example) => ({ ...example }))).toEqual([features]);
    expect({ ...sent?.options.context }).toEqual({ age: { kind: "int64", values: [1n] } });
    expect(sent?.options).toMatchObject({ metadata: { "x-a": "1" } });
    expect(sent?.options.deadline).toBeLessThanOrEqual(performance.now() + 1000);
  });

  it("takes serialized examples", async () => {
    const { transport, client } = setUp();
    // features { feature { key: "x" value { float_list { value: 1 } } } }
    const serialized = Buffer.from("0a0f0a0d0a017812081206 0a040000803f".replace(" ", ""), "hex");
    await client[method]("m", [serialized]);
    expect({ ...transport.inferences[0]?.examples[0] }).toEqual({ x: { kind: "float", values: [1] } });
  });

  it("asks for no signature", async () => {
    const { transport, client } = setUp();
    await client[method]("m", examples);
    expect(transport.lookUps).toBe(0);
  });

  describe("rejects before sending", () => {
    it.each([
      ["no examples", [], {}, `INVALID_ARGUMENT: ${method} m: examples: expected at least one, got none`],
      ["one example instead of a list", { x: 1 }, {}, "examples: expected a list of examples, got an object"],
      ["a feature of mixed kinds", [{ x: 1 }, { x: [1, 2n] }], {}, `INVALID_ARGUMENT: ${method} m: examples[1]: feature "x"`],
      ["a feature of the context", examples, { context: { x: [1, 2n] } }, `INVALID_ARGUMENT: ${method} m: context: feature "x"`],
      ["bytes that are no example", [Uint8Array.of(255)], {}, `DATA_LOSS: ${method} m: examples[0]: expected a serialized tf.Example`],
      ["a context that is none", examples, { context: 1 }, "context"],
    ])("%s", async (_title, given, options, message) => {
      const { transport, client } = setUp();
      await expect(client[method]("m", given as never, options as never)).rejects.toThrow(message);
      expect(transport.inferences).toEqual([]);
    });
  });
});

describe("errors of examples", () => {
  it("keep hint, place and the error underneath", async () => {
    const { client } = setUp();
    await expect(client.classify("m", [{ x: [1, 2n] }])).rejects.toMatchObject({
      name: "TensorError",
      hint: expect.stringContaining("say which kind is meant"),
      cause: { name: "TensorError" },
    });
    await expect(client.classify("m", [Uint8Array.of(10, 5, 1)])).rejects.toMatchObject({
      name: "FormatError",
      offset: expect.any(Number),
      cause: { name: "FormatError", message: expect.stringMatching(/^examples\[0\]/) },
    });
  });
});

describe("multiInference", () => {
  it("sends all tasks with one list of examples", async () => {
    const { transport, client } = setUp();
    const classify = { name: "m", version: 3, signatureName: "c" };
    await client.multiInference(
      [
        { model: classify, method: "classify" },
        { model: { name: "m", version: 3n }, method: "regress" },
        { model: "m", method: "regress" },
      ],
      examples,
      { context: { age: 1n } },
    );
    const [sent] = transport.inferences;
    expect(sent?.about).toEqual([
      { spec: classify, method: "classify" },
      { spec: { name: "m", version: 3n }, method: "regress" },
      { spec: { name: "m" }, method: "regress" },
    ]);
    expect(sent?.examples.map((example) => ({ ...example }))).toEqual([features]);
    expect(Object.keys(sent?.options.context ?? {})).toEqual(["age"]);
  });

  describe("rejects before sending", () => {
    const classify = { model: { name: "m", signatureName: "c" }, method: "classify" };
    it.each([
      ["no task", [], "tasks: expected at least one, got none"],
      ["what is no list", classify, "tasks: expected a list of { model, method }, got an object"],
      ["an unknown method", [{ model: "m", method: "predict" }], 'tasks[0]: expected method "classify" or "regress", got "predict"'],
      ["a task that is none", [null], "tasks[0]: expected method"],
      ["a task without a model", [{ method: "classify" }], "model: expected a name"],
      ["another model (trap 36)", [classify, { model: "n", method: "regress" }], "tasks[1]: expected name m as in the first task, got n"],
      [
        "another version (trap 36)",
        [
          { ...classify, model: { name: "m", version: 1 } },
          { model: { name: "m", version: 2 }, method: "regress" },
        ],
        "tasks[1]: expected version 1 as in the first task, got 2",
      ],
      [
        "a label that the first task lacks",
        [classify, { model: { name: "m", versionLabel: "x" }, method: "regress" }],
        "tasks[1]: expected no versionLabel as in the first task, got x",
      ],
    ])("%s", async (_title, tasks, message) => {
      const { transport, client } = setUp();
      await expect(client.multiInference(tasks as never, examples)).rejects.toThrow(TypeError);
      await expect(client.multiInference(tasks as never, examples)).rejects.toThrow(message);
      expect(transport.inferences).toEqual([]);
    });
  });
});
