/** A new version with another signature takes over between two calls. */
import { afterEach, describe, expect, it } from "vitest";
import { PredictionClient } from "../../src/client/prediction-client.js";
import { ServingError } from "../../src/errors.js";
import type { PredictInputs } from "../../src/predict-inputs.js";
import { createInMemoryTransport } from "../../src/server/in-memory-transport.js";
import type { ModelMap } from "../../src/server/model-map.js";
import { startModelServer } from "../../src/server/model-server.js";
import { type Servable, servable } from "../../src/server/servable.js";
import type { DType } from "../../src/tensor/dtype.js";

type TransportName = "grpc" | "rest" | "in-memory";

/** A model of one input, which it gives back. */
function echo(name: string, spec: { dtype: DType; shape: null[] }): Servable {
  const signature = { inputs: { [name]: spec }, outputs: { y: spec } };
  return servable({ signatures: { serving_default: signature }, predict: (inputs) => ({ y: inputs[name] as never }) });
}

const old = echo("x", { dtype: "float32", shape: [null] });

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

function inMemory(models: ModelMap) {
  const transport = createInMemoryTransport(models);
  return { client: new PredictionClient(transport), setVersionState: transport.setVersionState };
}

async function overSocket(transport: "grpc" | "rest", models: ModelMap) {
  const server = await startModelServer({ models });
  closing.push(server.close);
  const client = new PredictionClient(transport === "grpc" ? server.grpcTarget : server.restTarget);
  return { client, setVersionState: server.setVersionState };
}

/** A client of a model `m` whose version 2 still loads, and what changes that. */
async function serving(transport: TransportName, next: Servable) {
  const models = { m: { 1: old, 2: next } };
  const { client, setVersionState } = transport === "in-memory" ? inMemory(models) : await overSocket(transport, models);
  closing.push(() => client.close());
  setVersionState("m", 2, "LOADING");
  return { client, takeOver: () => setVersionState("m", 2, "AVAILABLE") };
}

/** Takes vectors of two values only, as graphs do whatever the server lets through. */
const pairs = servable({
  signatures: {
    serving_default: { inputs: { x: { dtype: "float32", shape: [null, 2] } }, outputs: { y: { dtype: "float32", shape: [null, 2] } } },
  },
  predict: ({ x }) => {
    if (x.shape.length !== 2) throw new ServingError("Matrix size-incompatible: In[0]: [1]", { code: "INVALID_ARGUMENT" });
    return { y: x };
  },
});

/** The first call after the change is refused, and the next one goes by the new signature. */
async function expectOneRefusal(
  transport: TransportName,
  next: Servable,
  given: { first: PredictInputs; later: PredictInputs },
  hint: string,
) {
  const { client, takeOver } = await serving(transport, next);
  await client.predict("m", given.first);
  takeOver();
  await expect(client.predict("m", given.first)).rejects.toMatchObject({
    name: "RpcError",
    code: "INVALID_ARGUMENT",
    hint: expect.stringContaining(`version 2 has taken over from version 1: ${hint}`),
  });
  return (await client.predict("m", given.later)).outputs["y"];
}

describe.each(["grpc", "rest", "in-memory"] as const)("a signature that a new version has changed, over %s", (transport) => {
  it("costs one call where the dtype differs", async () => {
    const next = echo("x", { dtype: "string", shape: [null] });
    const y = await expectOneRefusal(transport, next, { first: [2], later: ["a"] }, 'input "x": expected string [?], got float32 [1]');
    expect(y).toMatchObject({ dtype: "string", shape: [1] });
  });

  it("costs one call where the name differs", async () => {
    const next = echo("z", { dtype: "float32", shape: [null] });
    const y = await expectOneRefusal(
      transport,
      next,
      { first: [2], later: [2] },
      'input "x" is not in the signature, whose inputs are "z"',
    );
    expect(y).toMatchObject({ dtype: "float32", values: Float32Array.of(2) });
  });

  it("costs one call where the rank differs", async () => {
    const y = await expectOneRefusal(
      transport,
      pairs,
      { first: [2], later: [[2, 3]] },
      'input "x": expected float32 [?, 2], got float32 [1]',
    );
    expect(y).toMatchObject({ dtype: "float32", shape: [1, 2] });
  });
});

// A server converts the numbers of JSON itself.
describe.each(["grpc", "in-memory"] as const)("plain values that fit the old signature and the new one, over %s", (transport) => {
  it("are converted by the new one from the second call on", async () => {
    const next = echo("x", { dtype: "int64", shape: [null] });
    const given = { first: { x: [2] }, later: { x: [2] } };
    const y = await expectOneRefusal(transport, next, given, 'input "x": expected int64 [?], got float32 [1]');
    expect(y).toMatchObject({ dtype: "int64", values: BigInt64Array.of(2n) });
  });
});
