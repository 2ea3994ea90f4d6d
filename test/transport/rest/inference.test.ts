import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Example } from "../../../src/example-codec.js";
import { createRestTransport } from "../../../src/transport/rest/transport.js";
import type { Transport } from "../../../src/transport/transport.js";
import { type CannedRestServer, startCannedRestServer } from "../../support/canned-rest-server.js";

let server: CannedRestServer;
let transport: Transport;
beforeEach(async () => {
  server = await startCannedRestServer(() => ({ status: 200, body: '{"results": [2.5, NaN]}' }));
  transport = createRestTransport({ url: `${server.url}/prefix` });
});
afterEach(async () => {
  await transport.close();
  await server.close();
});

const soon = (timeoutMs = 5000) => ({ deadline: performance.now() + timeoutMs });
const examples: Example[] = [{ x: { kind: "float", values: [1] } }, { n: { kind: "int64", values: [1n] } }];
const sentBody = () => new TextDecoder().decode(server.seen[0]?.body);

describe("regress", () => {
  it("posts examples, floats with a point and integers without (trap 3)", async () => {
    const result = await transport.regress({ name: "m/n", versionLabel: "a:b" }, examples, soon());
    expect(`${server.seen[0]?.method} ${server.seen[0]?.target}`).toBe("POST /prefix/v1/models/m%2Fn/labels/a%3Ab:regress");
    expect(sentBody()).toBe('{"examples":[{"x":1.0},{"n":1}]}');
    expect(result).toEqual({ results: [2.5, Number.NaN], modelSpec: { name: "m/n", signatureName: "serving_default" } });
  });

  it("says the version where the call named one (trap 33)", async () => {
    const { modelSpec } = await transport.regress({ name: "m", version: 3, signatureName: "s" }, examples, soon());
    expect(modelSpec).toEqual({ name: "m", version: 3n, signatureName: "s" });
    expect(sentBody()).toContain('"signature_name":"s"');
  });

  it("fails with INTERNAL for an answer of another form", async () => {
    server.answer = () => ({ status: 200, body: '{"result": [1]}' });
    await expect(transport.regress({ name: "m" }, examples, soon())).rejects.toMatchObject({
      code: "INTERNAL",
      serverMessage: "unexpected answer: expected results to be a list, got nothing",
    });
  });
});

describe("classify", () => {
  it("posts the shared context and reads labels and scores", async () => {
    server.answer = () => ({ status: 200, body: '{"results": [[["a", 0.75], ["", 1]]]}' });
    const context: Example = { c: { kind: "bytes", values: [Uint8Array.of(255)] } };
    const { results } = await transport.classify({ name: "m" }, examples.slice(1), { ...soon(), context });
    expect(server.seen[0]?.target).toBe("/prefix/v1/models/m:classify");
    expect(JSON.parse(sentBody())).toEqual({ context: { c: { b64: "/w==" } }, examples: [{ n: 1 }] });
    expect(results).toEqual([
      [
        { label: "a", score: 0.75 },
        { label: "", score: 1 },
      ],
    ]);
  });

  it("fails at its deadline", async () => {
    server.answer = () => "hang";
    await expect(transport.classify({ name: "m" }, examples, soon(50))).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
  });
});

describe("what REST does not have", () => {
  it.each([
    ["multiInference", () => transport.multiInference([{ spec: { name: "m" }, method: "classify" }], examples, soon()), "multiInference m"],
    ["reloadConfig", () => transport.reloadConfig({ models: [] }, soon()), "reloadConfig"],
  ])("fails before sending, with the way to do it: %s", async (method, call, subject) => {
    await expect(call()).rejects.toMatchObject({
      name: "RpcError",
      code: "UNIMPLEMENTED",
      message: `UNIMPLEMENTED: ${subject}: TensorFlow Serving's REST API has no ${method}`,
      hint: "use gRPC (port 8500 by default)",
      transport: "rest",
      endpoint: `${new URL(server.url).host}/prefix`,
    });
    expect(server.seen).toEqual([]);
  });
});
