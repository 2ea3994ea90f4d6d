import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ModelServer, servable, startModelServer } from "../../../src/server/index.js";
import { tensor } from "../../../src/tensor/tensor.js";
import { checkFraming, framed } from "../../../src/transport/grpc/frame.js";
import { createGrpcTransport } from "../../../src/transport/grpc/transport.js";
import type { Transport } from "../../../src/transport/transport.js";

describe("framed", () => {
  it("hands a message to the installed grpc-js as it is", async () => {
    await checkFraming();
    const message = { length: 1, copy: () => 1 };
    expect(framed(message)).toBe(message);
  });
});

describe("a tensor on its way", () => {
  const spec = { dtype: "string", shape: [null] } as const;
  const echo = servable({ signatures: { serving_default: { inputs: { x: spec }, outputs: { y: spec } } }, predict: ({ x }) => ({ y: x }) });
  let server: ModelServer;
  let transport: Transport;
  beforeAll(async () => {
    server = await startModelServer({ models: { echo } });
    transport = createGrpcTransport({ target: server.grpcTarget });
  });
  afterAll(async () => {
    await transport.close();
    await server.close();
  });

  it.each([
    ["grows", "longer than before", "what does not fit"],
    ["shrinks", "", "10"],
  ])("fails the call by its name if it %s before it is sent, and only that call", async (_, text, got) => {
    const x = tensor("string", [1], ["before"]);
    const options = () => ({ deadline: performance.now() + 5000 });
    const call = transport.predict({ name: "echo" }, { x }, options());
    x.values[0] = new TextEncoder().encode(text);
    await expect(call).rejects.toMatchObject({
      name: "TensorError",
      message: `INVALID_ARGUMENT: predict echo: input "x" changed before the call settled: expected 16 bytes, got ${got}`,
    });
    const { outputs } = await transport.predict({ name: "echo" }, { x }, options());
    expect(outputs["y"]?.as("string").strings()).toEqual([text]);
  });
});
