import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PredictionClient } from "../../src/client/prediction-client.js";
import {
  createInMemoryTransport,
  type ExampleFeatures,
  type ModelServer,
  type Servable,
  servable,
  startModelServer,
} from "../../src/server/index.js";
import { tensor } from "../../src/tensor/tensor.js";

/** Names that JavaScript treats specially in an object with a prototype. */
const names = ["__proto__", "constructor", "x"];
const named = <V>(value: (name: string, index: number) => V) =>
  Object.fromEntries(names.map((name, index) => [name, value(name, index)])) as Record<string, V>;

const spec = { dtype: "float32", shape: [null] } as const;
const serialized = { dtype: "string", shape: [null] } as const;
const seen: ExampleFeatures[] = [];

const model: Servable = servable({
  signatures: {
    ["__proto__"]: { inputs: named(() => spec), outputs: named(() => spec) },
    constructor: { inputs: named((_name, index) => ({ ...spec, default: [index] })), outputs: named(() => spec) },
    classify: { inputs: { inputs: serialized }, outputs: { scores: { dtype: "float32", shape: [null, null] } } },
    regress: { inputs: { inputs: serialized }, outputs: { outputs: spec } },
  },
  predict: (inputs) => inputs as never,
  classify: (examples) => {
    seen.push(...examples);
    return examples.map((example) => [{ label: "", score: Object.keys(example).length }]);
  },
  regress: (examples) => examples.map((example) => Object.keys(example).length),
});

let server: ModelServer;
let clients: Record<"gRPC" | "REST" | "in-memory", PredictionClient>;
beforeAll(async () => {
  const options = { models: { ["__proto__"]: model, m: model }, versionLabels: { m: { ["__proto__"]: 1n } } };
  server = await startModelServer(options);
  clients = {
    gRPC: new PredictionClient(server.grpcTarget),
    REST: new PredictionClient(server.restTarget),
    "in-memory": new PredictionClient(createInMemoryTransport(options.models)),
  };
});
afterAll(async () => {
  for (const client of Object.values(clients)) await client.close();
  await server.close();
});

describe.each(["gRPC", "REST", "in-memory"] as const)("names such as __proto__ over %s", (transport) => {
  it.each(["__proto__", "m"])("come through in the metadata of %s", async (name) => {
    const { modelSpec, signatures } = await clients[transport].getModelMetadata(name);
    expect(modelSpec.name).toBe(name);
    expect(Object.keys(signatures).sort()).toEqual(["__proto__", "classify", "constructor", "regress"]);
    for (const signatureName of ["__proto__", "constructor"]) {
      const signature = signatures[signatureName];
      expect(Object.keys(signature?.inputs ?? {}).sort()).toEqual(names);
      expect(Object.keys(signature?.outputs ?? {}).sort()).toEqual(names);
    }
  });

  it.each(["tensors", "plain values"])("come through in predict with %s", async (kind) => {
    const about = { name: "__proto__", signatureName: "__proto__" };
    const inputs = named((_name, index) => (kind === "tensors" ? tensor("float32", [1], [index + 0.5]) : [index + 0.5]));
    const { outputs } = await clients[transport].predict(about, inputs);
    expect(Object.keys(outputs).sort()).toEqual(names);
    expect(Object.entries(outputs).every(([name, { values }]) => values[0] === names.indexOf(name) + 0.5)).toBe(true);
  });

  it("select outputs", async () => {
    const inputs = named(() => tensor("float32", [1], [1]));
    const about = { name: "m", signatureName: "__proto__" };
    const { outputs } = await clients[transport].predict(about, inputs, { outputFilter: ["__proto__"] });
    expect(Object.keys(outputs)).toEqual(["__proto__"]);
  });

  it("come through as features of examples and of their context", async () => {
    seen.length = 0;
    const about = { name: "m", signatureName: "classify" };
    const context = { constructor: 1n };
    const { results } = await clients[transport].classify(about, [{ ["__proto__"]: [1.5, 2] }], { context });
    expect(results).toEqual([[{ label: "", score: 2 }]]);
    expect(seen.map((example) => Object.entries(example).sort())).toEqual([
      [
        ["__proto__", [1.5, 2]],
        ["constructor", [1n]],
      ],
    ]);
    const regressed = await clients[transport].regress({ name: "m", signatureName: "regress" }, [{ ["__proto__"]: "a" }], { context });
    expect(regressed.results).toEqual([2]);
  });
});

describe("over gRPC", () => {
  it("a default named __proto__ stands in for an input that was left out", async () => {
    const about = { name: "m", signatureName: "constructor" };
    const { outputs } = await clients.gRPC.predict(about, { x: tensor("float32", [1], [9]) });
    expect(Object.entries(outputs).sort()).toEqual([
      ["__proto__", tensor("float32", [1], [0])],
      ["constructor", tensor("float32", [1], [1])],
      ["x", tensor("float32", [1], [9])],
    ]);
    const { signatures } = await clients.gRPC.getModelMetadata("m");
    expect(Object.entries(signatures["constructor"]?.inputs ?? {}).find(([name]) => name === "__proto__")?.[1].default).toEqual(
      tensor("float32", [1], [0]),
    );
  });

  it("a label named __proto__ finds its version", async () => {
    const { modelSpec } = await clients.gRPC.getModelMetadata({ name: "m", versionLabel: "__proto__" });
    expect(modelSpec.version).toBe(1n);
  });
});
