import { describe, expect, it } from "vitest";
import type { Example } from "../../src/example-codec.js";
import { createInMemoryTransport, type Servable, servable } from "../../src/server/index.js";
import { tensor } from "../../src/tensor/tensor.js";

const inputs = { dtype: "string", shape: [null] } as const;
const matrix = { dtype: "float32", shape: [null, null] } as const;
const labels = { dtype: "string", shape: [null, null] } as const;
const signatures = {
  serving_default: { inputs: { inputs }, outputs: { classes: labels, scores: matrix } },
  regress: { inputs: { inputs }, outputs: { outputs: { dtype: "float32", shape: [null] } } },
} as const;

const soon = () => ({ deadline: performance.now() + 5_000 });
const examples: Example[] = [{ x: { kind: "float", values: [1.5] } }, { n: { kind: "int64", values: [2n] } }];
const context: Example = { x: { kind: "float", values: [4] }, s: { kind: "bytes", values: [Uint8Array.of(1)] } };

function failing(overrides: Partial<Servable>): Servable {
  return { ...servable({ signatures, predict: () => ({ outputs: [0, 0] }) }), ...overrides };
}

describe("servable", () => {
  it("answers from decoded examples, with the context where an example has no value of its own", async () => {
    const seen: unknown[] = [];
    const model = servable({
      signatures,
      predict: () => ({ outputs: [] }),
      classify: (given, { signatureName, version }) => {
        seen.push(given, signatureName, version);
        return given.map(({ x }) => [{ label: "x", score: Number(x?.[0]) + 0.1 }]);
      },
      regress: async (given) => given.map(({ n }) => Number(n?.[0] ?? 0n)),
    });
    const transport = createInMemoryTransport({ model });
    const classified = await transport.classify({ name: "model" }, examples, { ...soon(), context });
    expect(seen).toEqual([
      [
        { x: [1.5], s: [Uint8Array.of(1)] },
        { x: [4], s: [Uint8Array.of(1)], n: [2n] },
      ],
      "serving_default",
      1n,
    ]);
    expect(classified).toEqual({
      results: [[{ label: "x", score: Math.fround(1.6) }], [{ label: "x", score: Math.fround(4.1) }]],
      modelSpec: { name: "model", version: 1n, signatureName: "serving_default" },
    });
    const regressed = await transport.regress({ name: "model", signatureName: "regress" }, examples, soon());
    expect(regressed.results).toEqual([0, 2]);
    const both = await transport.multiInference(
      [
        { spec: { name: "model", signatureName: "regress" }, method: "regress" },
        { spec: { name: "model" }, method: "classify" },
      ],
      examples,
      { ...soon(), context },
    );
    expect(both.results).toEqual([
      { method: "regress", ...regressed },
      { method: "classify", ...classified },
    ]);
  });

  it("gets the serialized examples in predict where it has no function of its own", async () => {
    let size = 0;
    const model = servable({
      signatures,
      predict: ({ inputs: serialized }) => {
        size = serialized.size;
        return { classes: [["a"], ["b"]], scores: [[0.5], [1]] };
      },
    });
    const { results } = await createInMemoryTransport({ model }).classify({ name: "model" }, examples, soon());
    expect(size).toBe(2);
    expect(results).toEqual([[{ label: "a", score: 0.5 }], [{ label: "b", score: 1 }]]);
  });

  it("is told by its signal when the deadline passes", async () => {
    let aborted = false;
    const stuck = failing({
      regress: (_examples, { signal }) =>
        new Promise(() => {
          signal.addEventListener("abort", () => {
            aborted = true;
          });
        }),
    });
    const call = createInMemoryTransport({ stuck }).regress({ name: "stuck", signatureName: "regress" }, examples, {
      deadline: performance.now() + 30,
    });
    await expect(call).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    await expect.poll(() => aborted).toBe(true);
  });

  it("is called only for signatures that TensorFlow Serving takes", async () => {
    const model = failing({ classify: () => [[], []] });
    const call = createInMemoryTransport({ model }).classify({ name: "model", signatureName: "regress" }, examples, soon());
    await expect(call).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      serverMessage: expect.stringContaining('Expected classification signature outputs to contain at least one of "classes" or "scores".'),
    });
  });

  describe("is blamed for", () => {
    const classifyFault = "classify has to return a list of { label, score } for each of the 2 examples";
    it.each<[string, Partial<Servable>, "classify" | "regress", string]>([
      ["too few lists of classes", { classify: () => [[]] }, "classify", classifyFault],
      ["classes without a score", { classify: () => [[{ label: "a" }], []] as never }, "classify", classifyFault],
      ["too many values", { regress: () => [1, 2, 3] }, "regress", "regress has to return a number for each of the 2 examples"],
      ["values that are no numbers", { regress: () => ["1", "2"] as never }, "regress", "regress has to return a number for each"],
      [
        "outputs of another shape",
        { predict: () => ({ outputs: tensor("float32", [1, 2], [1, 2]) }) },
        "regress",
        "of shape [2] or [2, 1]",
      ],
      [
        "classes of another shape",
        {
          predict: () => ({
            classes: [["a"], ["b"]],
            scores: [
              [1, 2],
              [3, 4],
            ],
          }),
        },
        "classify",
        "of shape [2, n]",
      ],
    ])("%s", async (_title, overrides, method, message) => {
      const transport = createInMemoryTransport({ model: failing(overrides) });
      const spec = { name: "model", signatureName: method === "regress" ? "regress" : "serving_default" };
      await expect(transport[method](spec, examples, soon())).rejects.toMatchObject({
        code: "INTERNAL",
        serverMessage: expect.stringContaining(message),
      });
    });
  });

  it("rejects a classify that is no function", () => {
    const wrong = { signatures, predict: () => ({ outputs: [] }), classify: "yes" as never };
    expect(() => servable(wrong)).toThrow("servable: expected a function classify(examples, context), got string");
  });
});
