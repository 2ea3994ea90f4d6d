import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PredictionClient } from "../../../src/client/prediction-client.js";
import { createInMemoryTransport, type ModelServer, servable, startModelServer } from "../../../src/server/index.js";
import type { Signature, TensorSpec } from "../../../src/signature.js";
import { tensor } from "../../../src/tensor/tensor.js";
import { predictRefusal } from "../../../src/transport/rest/refusals.js";
import type { TensorMap } from "../../../src/transport/transport.js";
import { grpcExchanges } from "../grpc/golden-exchanges.js";

const recorded = new Map(grpcExchanges("errors-grpc").map(({ id, response }) => [id, response.message]));
const float: TensorSpec = { dtype: "float32", shape: [null] };
const string: TensorSpec = { dtype: "string", shape: [null] };
const one = tensor("float32", [1], [1]);
const int = tensor("int32", [1], [1]);

const signatureOf = (inputs: Signature["inputs"], outputs: Signature["outputs"] = { y: float }): Signature => ({
  methodName: "tensorflow/serving/predict",
  inputs,
  outputs,
});
const halfPlusTwo = signatureOf({ x: float });
const withDefaults = signatureOf({ x: float, scale: { ...float, default: one }, offset: { ...float, default: one } });
const multiIo = signatureOf({ features: float, ids: float, names: string, negate: float });

describe("predictRefusal", () => {
  it.each<[string, Signature, TensorMap, readonly string[]]>([
    ["errors-grpc/inputs_extra", halfPlusTwo, { x: one, z: one }, []],
    ["errors-grpc/defaults_extra", withDefaults, { x: one, q: one }, []],
    ["errors-grpc/dtype_wrong", halfPlusTwo, { x: int }, []],
    ["errors-grpc/dtype_wrong_string", signatureOf({ x: string }), { x: one }, []],
    ["errors-grpc/dtype_wrong_second", signatureOf({ x: float, scale: float }), { x: one, scale: int }, []],
    ["errors-grpc/filter_unknown", halfPlusTwo, { x: one }, ["q"]],
    ["errors-grpc/filter_duplicate", halfPlusTwo, { x: one }, ["y", "y"]],
  ])("says what the server said over gRPC: %s", (id, signature, inputs, outputFilter) => {
    expect(predictRefusal(signature, inputs, outputFilter)).toBe(recorded.get(id));
  });

  it.each<[string, Signature, TensorMap]>([
    ["errors-grpc/inputs_wrong_name", halfPlusTwo, { y: one }],
    ["errors-grpc/inputs_wrong_names_multi", multiIo, { a: one, b: one, features: one, negate: one }],
  ])(
    "says what the server said, but for the name inside the graph and which of the missing ones it met first: %s",
    (id, signature, inputs) => {
      const text = recorded.get(id)?.replace(/: \w+\(feed name: [^)]*\)/, "");
      expect(predictRefusal(signature, inputs, [])?.replace(/(?<=alias): \w+/, "")).toBe(text);
    },
  );

  it("leaves what is missing to the server, which refuses that over REST, too", () => {
    expect(predictRefusal(halfPlusTwo, {}, [])).toBeUndefined();
    expect(predictRefusal(withDefaults, { x: one }, ["y"])).toBeUndefined();
  });
});

describe("check: false", () => {
  const echo = servable({
    signatures: {
      serving_default: { inputs: { x: { dtype: "float32", shape: [null] } }, outputs: { y: { dtype: "float32", shape: null } } },
    },
    predict: ({ x }) => ({ y: x }),
  });
  let server: ModelServer;
  let clients: PredictionClient[];
  beforeAll(async () => {
    server = await startModelServer({ models: { m: echo } });
    const destinations = [server.grpcTarget, server.restTarget, createInMemoryTransport({ m: echo })] as const;
    clients = destinations.map((to) =>
      typeof to === "string" ? new PredictionClient(to, { check: false }) : new PredictionClient(to, { check: false }),
    );
  });
  afterAll(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await server.close();
  });

  it.each<[string, TensorMap, "column" | "row", RegExp]>([
    ["a wrong dtype", { x: int }, "column", /^Expects arg\[0\] to be float but int32 is provided$/],
    ["a wrong dtype in rows", { x: int }, "row", /^Expects arg\[0\] to be float but int32 is provided$/],
    [
      "a dtype that JSON cannot carry",
      { x: tensor("uint16", [1], [1]) },
      "column",
      /^Expects arg\[0\] to be float but uint16 is provided$/,
    ],
    ["an unknown name", { z: one }, "column", /^Signature input alias: x.* not found in request .*\{z\}/],
    ["an extra name", { x: one, z: one }, "column", /^input size does not match signature: 2!=1 .*Sent extra: \{z\}/],
    ["an extra name in rows", { x: one, z: tensor("float32", [], [1]) }, "row", /^input size does not match signature: 2!=1/],
    ["a missing input", {}, "column", /./],
  ])("refuses %s alike over every transport", async (_title, inputs, restFormat, serverMessage) => {
    for (const client of clients) {
      await expect(client.predict("m", inputs, { restFormat })).rejects.toMatchObject({
        name: "RpcError",
        code: "INVALID_ARGUMENT",
        serverMessage: expect.stringMatching(serverMessage),
        hint: expect.any(String),
      });
    }
  });
});
