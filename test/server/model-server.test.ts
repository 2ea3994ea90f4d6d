import { execFile } from "node:child_process";
import { networkInterfaces } from "node:os";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { PredictionClient } from "../../src/client/prediction-client.js";
import { ServingError } from "../../src/errors.js";
import { type ModelServer, type ModelServerOptions, type Servable, servable, startModelServer } from "../../src/server/index.js";
import { tensor } from "../../src/tensor/tensor.js";
import { heldModel } from "./both-fronts.js";
import { goldenModels, halfPlusTwo } from "./golden-models.js";
import { rawHttp } from "./raw-http.js";

const spec = { dtype: "string", shape: [null] } as const;
const models = { half_plus_two: halfPlusTwo };

async function withServer<T>(options: ModelServerOptions, use: (server: ModelServer) => Promise<T>): Promise<T> {
  const server = await startModelServer(options);
  try {
    return await use(server);
  } finally {
    await server.close();
  }
}

async function post(server: ModelServer, path: string, body: unknown): Promise<string> {
  const response = await fetch(`${server.restTarget}${path}`, { method: "POST", body: JSON.stringify(body) });
  return response.text();
}

const hasIPv6 = Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === "::1"));

describe("startModelServer", () => {
  it("takes free ports of loopback and says where clients find them", async () => {
    await withServer({ models }, async (server) => {
      expect(server.grpcPort).toBeGreaterThan(0);
      expect(server.grpcTarget).toBe(`127.0.0.1:${server.grpcPort}`);
      expect(server.restTarget).toBe(`http://127.0.0.1:${server.restPort}`);
    });
  });

  it.skipIf(!hasIPv6)("puts IPv6 addresses into brackets", async () => {
    await withServer({ models, host: "::1" }, async (server) => {
      expect(server.grpcTarget).toBe(`[::1]:${server.grpcPort}`);
      expect(await post(server, "/v1/models/half_plus_two:predict", { inputs: [1] })).toContain("2.5");
    });
  });

  it("takes a bare servable as version 1", async () => {
    await withServer({ models }, async (server) => {
      const answer = await fetch(`${server.restTarget}/v1/models/half_plus_two`);
      expect(await answer.json()).toMatchObject({ model_version_status: [{ version: "1", state: "AVAILABLE" }] });
    });
  });

  it("closes twice, with kept-alive connections open", async () => {
    const server = await startModelServer({ models });
    await post(server, "/v1/models/half_plus_two:predict", { instances: [1] });
    await Promise.all([server.close(), server.close()]);
    await expect(fetch(server.restTarget)).rejects.toThrow();
  });

  it("answers running calls before it is closed", async () => {
    let release: () => void = () => undefined;
    const running = new Promise<void>((resolve) => {
      release = resolve;
    });
    let entered: () => void = () => undefined;
    const inside = new Promise<void>((resolve) => {
      entered = resolve;
    });
    const slow: Servable = {
      ...halfPlusTwo,
      predict: async (inputs, context) => {
        entered();
        await running;
        return halfPlusTwo.predict(inputs, context);
      },
    };
    const server = await startModelServer({ models: { slow } });
    const answer = post(server, "/v1/models/slow:predict", { instances: [1] });
    await inside;
    const closed = server.close();
    release();
    expect(await answer).toContain("2.5");
    await closed;
  });

  it("answers running gRPC calls before it is closed, and takes no more", async () => {
    const held = heldModel();
    const server = await startModelServer({ models: { held: held.model } });
    const client = new PredictionClient(server.grpcTarget, { retry: false });
    const call = client.predict("held", [1]);
    await expect.poll(() => held.runs()).toBe(1);
    const closed = server.close();
    await expect(client.getModelStatus("held")).rejects.toMatchObject({ code: "UNAVAILABLE" });
    held.release();
    expect((await call).outputs).toHaveProperty("y");
    await Promise.all([closed, client.close()]);
  });

  it.each([
    ["a batch that waits for others", { batching: { batchTimeoutMicros: 20_000_000 } }, "async () => ({ y: [1] })", "200"],
    ["a call whose function never ends", { restTimeoutMs: 20_000 }, "() => new Promise(() => {})", "cut"],
  ])("keeps the process alive no longer than it closes, with %s", { timeout: 30_000 }, async (_title, options, predict, answer) => {
    const program = `
      import { servable, startModelServer } from "${new URL("../../src/server/index.ts", import.meta.url)}";
      const spec = { dtype: "float32", shape: [null] };
      const m = servable({ signatures: { serving_default: { inputs: { x: spec }, outputs: { y: spec } } }, predict: ${predict} });
      const server = await startModelServer({ models: { m }, ...${JSON.stringify(options)} });
      const request = { method: "POST", body: '{"instances": [1]}' };
      const answer = fetch(server.restTarget + "/v1/models/m:predict", request).then(({ status }) => String(status), () => "cut");
      while (server.requests.length === 0) await new Promise(setImmediate);
      await server.close();
      console.log(await answer);`;
    const args = ["--import", "tsx", "--input-type=module", "-e", program];
    const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 12_000 });
    expect(stdout.trim()).toBe(answer);
  });

  it.each(["localhost", "0.0.0.0"])("listens on %s", async (host) => {
    await withServer({ models, host }, async (server) => {
      for (const target of [server.grpcTarget, server.restTarget]) {
        const client = new PredictionClient(target, { retry: false });
        expect(await client.getModelStatus("half_plus_two")).toMatchObject([{ version: 1n }]);
        await client.close();
      }
    });
  });

  it("passes the system's error on when the gRPC port is taken", async () => {
    await withServer({ models }, async ({ grpcPort }) => {
      await expect(startModelServer({ models, grpcPort })).rejects.toMatchObject({ code: "EADDRINUSE", port: grpcPort });
    });
  });

  it("frees the gRPC port when the REST port is taken", async () => {
    await withServer({ models }, async ({ restPort }) => {
      await expect(startModelServer({ models, restPort })).rejects.toThrow("EADDRINUSE");
    });
  });

  it("describes models over REST as protobuf prints them", async () => {
    await withServer({ models: goldenModels }, async (server) => {
      const answer = await rawHttp(server.restPort, Buffer.from("GET /v1/models/half_plus_two/metadata HTTP/1.1\r\n\r\n"));
      const text = answer.body.toString();
      expect(text).toContain(
        '{\n"model_spec":{\n "name": "half_plus_two",\n "version": "123",\n "signature_name": ""\n}\n,\n"metadata": {"signature_def": {\n "signature_def": {\n',
      );
      expect(text).toContain(
        '     "dtype": "DT_FLOAT",\n     "tensor_shape": {\n      "dim": [\n       {\n        "size": "-1",\n        "name": ""\n       }\n      ],\n      "unknown_rank": false\n     }\n',
      );
      expect(text).toMatch(/"[\w/]*",\n {3}"defaults": \{\}\n {2}\}\n \}\n\}\n\}\n\}\n$/);
    });
  });

  it("prints strings as they are and those of outputs called ..._bytes as base64", async () => {
    const strings = servable({
      signatures: { serving_default: { inputs: { x: spec }, outputs: { text: spec, raw_bytes: spec } } },
      predict: ({ x }) => ({ text: x, raw_bytes: x }),
    });
    await withServer({ models: { strings } }, async (server) => {
      const answer = JSON.parse(await post(server, "/v1/models/strings:predict", { instances: ['grün " \n', { b64: "AQ==" }] })) as unknown;
      expect(answer).toEqual({
        predictions: [
          { text: 'grün " \n', raw_bytes: { b64: Buffer.from('grün " \n').toString("base64") } },
          { text: "\u0001", raw_bytes: { b64: "AQ==" } },
        ],
      });
    });
  });

  it("refuses row answers whose outputs differ in rows", async () => {
    const pair = servable({
      signatures: { serving_default: { inputs: { x: spec }, outputs: { a: spec, b: spec } } },
      predict: ({ x }) => ({ a: x, b: tensor("string", [0], []) }),
    });
    await withServer({ models: { pair } }, async (server) => {
      const text = await post(server, "/v1/models/pair:predict", { instances: ["x"] });
      expect(JSON.parse(text)).toEqual({ error: "Tensor name: b has inconsistent batch size: 0 expecting: 1" });
    });
  });

  it("starts without models", async () => {
    const server = await startModelServer();
    const answer = await fetch(`${server.restTarget}/v1/models/m`);
    expect(answer.status).toBe(404);
    await answer.arrayBuffer();
    await server.close();
  });

  describe("rejects", () => {
    const wrong = (options: unknown) => startModelServer(options as ModelServerOptions);
    it.each([
      ["a relative base path", { models: { m: "models/m" } }, ServingError, "Expected model m to have an absolute path or URI"],
      ["a folder as a version", { models: { m: { 1: "/models/m/1" } } }, TypeError, "version 1: expected a servable, got string"],
      ["models that are no record", { models: 5 }, TypeError, "models: expected a record"],
      ["a model without versions", { models: { m: {} } }, TypeError, "expected at least one version"],
      ["a version that is no number", { models: { m: { v1: halfPlusTwo } } }, RangeError, 'expected version numbers as keys, got "v1"'],
      [
        "a label of a version that is not served",
        { models, versionLabels: { half_plus_two: { stable: 2 } } },
        RangeError,
        "names version 2, which is not served",
      ],
      ["a loader that is no function", { models, loadServable: "x" }, TypeError, "loadServable: expected a function"],
      ["an unknown option", { models, port: 8500 }, TypeError, "port: unknown option, expected one of allow"],
      ["a configuration file beside base paths", { models: { m: "/m" }, modelConfigFile: "/c" }, TypeError, 'model "m": expected its base'],
      [
        "a configuration file beside labels",
        { versionLabels: { m: {} }, modelConfigFile: "/c" },
        TypeError,
        'model "m": expected its base',
      ],
      ["a path that is no text", { modelConfigFile: 5 }, TypeError, "modelConfigFile: expected a path, got 5"],
      [
        "a poll of a configuration file that is not there",
        { models, modelConfigFilePollMs: 5 },
        TypeError,
        "modelConfigFilePollMs: expected a modelConfigFile to read and apply again",
      ],
      ["a time below 0", { models, fileSystemPollMs: -1 }, RangeError, "fileSystemPollMs: expected a number from 0 to 2147483647, got -1"],
      ["a fraction of retries", { models, maxLoadRetries: 0.5 }, RangeError, "maxLoadRetries: expected a whole number from 0"],
      ["a text for a switch", { models, enableModelWarmup: "no" }, TypeError, "enableModelWarmup: expected true or false, got no"],
      [
        "one thread of gRPC, which would run nothing",
        { models, maxGrpcThreads: 1 },
        RangeError,
        "expected a whole number from 2 up, got 1",
      ],
      ["an unknown batching parameter", { models, batching: { maxRows: 1 } }, TypeError, "batching.maxRows: unknown option"],
      [
        "a batch size of 0",
        { models, batching: { maxBatchSize: 0 } },
        RangeError,
        "batching.maxBatchSize: expected a whole number from 1 up",
      ],
      ["a port out of range", { models, grpcPort: 65536 }, RangeError, "grpcPort: expected a port"],
    ])("%s", async (_title, options, type, message) => {
      await expect(wrong(options)).rejects.toThrow(type);
      await expect(wrong(options)).rejects.toThrow(message);
    });
  });
});
