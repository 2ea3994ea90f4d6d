/** Traps that both APIs of TensorFlow Serving share, by the numbers of the list this project was built from. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PredictionClient } from "../../src/client/prediction-client.js";
import { RpcError } from "../../src/errors.js";
import { type ModelServer, servable, startModelServer } from "../../src/server/index.js";
import { tensor } from "../../src/tensor/tensor.js";
import { startCannedRestServer } from "../support/canned-rest-server.js";
import { EchoTransport } from "../support/echo-transport.js";

const image = { dtype: "float32", shape: [null, 8] } as const;
let ran = 0;
const model = servable({
  signatures: { serving_default: { inputs: { image }, outputs: { y: image } } },
  predict: ({ image: y }) => {
    ran++;
    return { y };
  },
});

let server: ModelServer;
let clients: readonly (readonly [name: string, client: PredictionClient])[];
beforeAll(async () => {
  server = await startModelServer({ models: { m: { 1: model, 2: model } }, versionLabels: { m: { stable: 1 } } });
  clients = [
    ["gRPC", new PredictionClient(server.grpcTarget)],
    ["REST", new PredictionClient(server.restTarget)],
  ];
});
afterAll(async () => {
  await Promise.all(clients.map(([, client]) => client.close()));
  await server.close();
});

const inputs = { image: tensor("float32", [1, 8], new Float32Array(8)) };

describe("trap 13: shapes are not compared with the signature", () => {
  it.each([
    ["rank", [8], "expected float32 [?, 8], got float32 [8]"],
    ["fixed dimension", [1, 7], "expected float32 [?, 8], got float32 [1, 7]"],
  ])("so that a wrong %s is refused before sending (trap 41, too)", async (_what, shape, difference) => {
    ran = 0;
    for (const [, client] of clients) {
      const wrong = { image: tensor("float32", shape, new Float32Array(shape.reduce((a, b) => a * b, 1))) };
      await expect(client.model("m").predict(wrong)).rejects.toMatchObject({
        name: "SignatureError",
        message: expect.stringContaining(difference),
      });
    }
    expect(ran).toBe(0);
  });
});

describe("trap 14: the same fault has several codes", () => {
  it.each([
    ["a missing signature", { name: "m", signatureName: "s" }, "FAILED_PRECONDITION"],
    ["an unknown label", { name: "m", versionLabel: "l" }, "INVALID_ARGUMENT"],
    ["a label of an unknown model", { name: "n", versionLabel: "l" }, "INVALID_ARGUMENT"],
    ["an unknown version", { name: "m", version: 9 }, "NOT_FOUND"],
    ["an unknown model", "n", "NOT_FOUND"],
  ])("and %s has one of them over both transports", async (_what, spec, code) => {
    for (const [, client] of clients) await expect(client.predict(spec, inputs)).rejects.toMatchObject({ name: "RpcError", code });
  });
});

describe("trap 26: END stays listed for ever, labels are ignored, versions descend", () => {
  it("so that waiting overlooks versions that were unloaded, and takes no label", async () => {
    server.setVersionState("m", 2, "END");
    for (const [, client] of clients) {
      expect((await client.getModelStatus("m")).map(({ version, state }) => `${version} ${state}`)).toEqual(["2 END", "1 AVAILABLE"]);
      expect(await client.waitForModel("m", { timeoutMs: 2000 })).toMatchObject({ version: 1n, state: "AVAILABLE" });
      await expect(client.waitForModel({ name: "m", versionLabel: "stable" })).rejects.toThrow("a status says nothing of labels");
    }
  });

  it("and reports one that ended with an error", async () => {
    server.setVersionState("m", 2, "END", { code: "DATA_LOSS", message: "bad record" });
    for (const [, client] of clients) {
      await expect(client.waitForModel("m", { timeoutMs: 2000 })).rejects.toMatchObject({ code: "DATA_LOSS" });
    }
  });
});

describe("trap 28: ports open only after the models have loaded", () => {
  it("so that a refused connection does not end the wait, and the time-out names the base path", async () => {
    const closed = await startModelServer();
    await closed.close();
    for (const target of [closed.grpcTarget, closed.restTarget]) {
      const client = new PredictionClient(target);
      await expect(client.waitForModel("m", { timeoutMs: 300, pollIntervalMs: 50 })).rejects.toMatchObject({
        code: "DEADLINE_EXCEEDED",
        serverMessage: expect.stringMatching(/last seen: UNAVAILABLE: .*ECONNREFUSED/),
        hint: expect.stringContaining("base path"),
      });
      await client.close();
    }
  });
});

const config = { models: [{ name: "m", basePath: "/models/m", modelPlatform: "tensorflow" }] };

describe("trap 29: a reload waits without limit", () => {
  it("so that its deadline says for what", async () => {
    const transport = new EchoTransport();
    const about = { method: "reloadConfig", endpoint: "", transport: "echo", serverMessage: "Deadline exceeded" } as const;
    transport.reloadError = new RpcError({ ...about, code: "DEADLINE_EXCEEDED" });
    const hint = expect.stringMatching(/base path exists.*\/models\/m.*earlier reload.*--model_config_file_poll_wait_seconds/);
    await expect(new PredictionClient(transport).reloadConfig(config)).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED", hint });
    expect(transport.reloads).toHaveLength(1);
  });
});

describe("trap 30: the stock server refuses logging_config", () => {
  it("which its hint explains", () => {
    const serverMessage = "No request-logger-creator provided.";
    const error = new RpcError({ code: "INVALID_ARGUMENT", method: "reloadConfig", endpoint: "", transport: "grpc", serverMessage });
    expect(error.hint).toContain("loggingConfig");
  });
});

describe("trap 39: a model without a platform breaks every later reload", () => {
  it.each([{}, { modelPlatform: "" }, { modelPlatform: "tensorflow", modelType: "TENSORFLOW" }])(
    "so that %o is not sent",
    async (platform) => {
      const transport = new EchoTransport();
      const models = [{ name: "m", basePath: "/models/m", ...platform }];
      await expect(new PredictionClient(transport).reloadConfig({ models } as never)).rejects.toThrow("every later reload");
      expect(transport.reloads).toEqual([]);
    },
  );
});

describe("trap 40: a status may carry bytes that are no UTF-8", () => {
  it("which cost neither the status nor its other versions over REST", async () => {
    const versions = '{"version": "2", "state": "END", "status": {"error_code": "INVALID_ARGUMENT", "error_message": "bad ??"}}';
    const body = Buffer.from(`{"model_version_status": [${versions}, {"version": "1", "state": "AVAILABLE", "status": {}}]}`);
    body.write("\xff\xfe", body.indexOf("??"), "latin1");
    const canned = await startCannedRestServer(() => ({ status: 200, body }));
    const client = new PredictionClient(canned.url);
    const statuses = await client.getModelStatus("m");
    expect(statuses.map(({ version, state, errorMessage }) => [version, state, errorMessage])).toEqual([
      [2n, "END", "bad \ufffd\ufffd"],
      [1n, "AVAILABLE", ""],
    ]);
    await client.close();
    await canned.close();
  });
});
