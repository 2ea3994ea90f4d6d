import { execFile } from "node:child_process";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";
import { promisify } from "node:util";
import { gunzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { PredictionClient } from "../../../src/client/prediction-client.js";
import { passedBeforeAnswer, passedBeforeSending } from "../../../src/deadline.js";
import { isServingError, type RpcError, type SignatureError } from "../../../src/errors.js";
import { startModelServer } from "../../../src/server/model-server.js";
import { servable } from "../../../src/server/servable.js";
import type { Signature } from "../../../src/signature.js";
import { dtypes } from "../../../src/tensor/dtype.js";
import { tensor } from "../../../src/tensor/tensor.js";
import { createConnector } from "../../../src/transport/rest/connector.js";
import { createRestTransport } from "../../../src/transport/rest/transport.js";
import type { Transport } from "../../../src/transport/transport.js";
import { type CannedRestServer, startCannedRestServer } from "../../support/canned-rest-server.js";

let server: CannedRestServer;
let transport: Transport;
beforeEach(async () => {
  server = await startCannedRestServer(() => ({ status: 200, body: '{"outputs": [2.5]}' }));
  transport = createRestTransport({ url: server.url });
});
afterEach(async () => {
  await transport.close();
  await server.close();
});

const soon = (timeoutMs = 5000) => ({ deadline: performance.now() + timeoutMs });

const halfPlusTwo: Signature = {
  methodName: "tensorflow/serving/predict",
  inputs: { x: { dtype: "float32", shape: [null] } },
  outputs: { y: { dtype: "float32", shape: [null] } },
};

const twoByTwo: Signature = {
  methodName: "tensorflow/serving/predict",
  inputs: {
    a: { dtype: "int64", shape: [null] },
    b: { dtype: "string", shape: [null], default: tensor("string", [1], ["d"]) },
  },
  outputs: { p: { dtype: "int64", shape: [null] }, q: { dtype: "string", shape: [null] } },
};

const x = { x: tensor("float32", [1], [1]) };
const predictX = (options: object = {}) => transport.predict({ name: "m" }, x, { ...soon(), signature: halfPlusTwo, ...options });

const sentBody = (index = 0) => new TextDecoder().decode(server.seen[index]?.body);

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    () => {
      throw new Error("expected a rejection");
    },
    (error: unknown) => error,
  );
}

async function rpcError(promise: Promise<unknown>): Promise<RpcError> {
  const error = await rejection(promise);
  if (!isServingError(error, "RpcError")) throw error;
  return error;
}

async function signatureError(promise: Promise<unknown>): Promise<SignatureError> {
  const error = await rejection(promise);
  if (!isServingError(error, "SignatureError")) throw error;
  return error;
}

describe("predict", () => {
  it("posts column JSON and names the single output", async () => {
    const result = await predictX();
    expect(server.seen[0]).toMatchObject({ method: "POST", target: "/v1/models/m:predict" });
    expect(server.seen[0]?.headers["content-type"]).toBe("application/json");
    expect(sentBody()).toBe('{"inputs":{"x":[1]}}');
    expect(result.outputs.y).toMatchObject({ dtype: "float32", shape: [1], values: Float32Array.of(2.5) });
    expect(result.modelSpec).toEqual({ name: "m", signatureName: "serving_default" });
  });

  it.each([
    [{ name: "a b/c:ü", version: 3 }, "/v1/models/a%20b%2Fc%3A%C3%BC/versions/3:predict", 3n],
    [{ name: "m", versionLabel: "x/y" }, "/v1/models/m/labels/x%2Fy:predict", undefined],
    [{ name: "m", version: 9223372036854775807n }, "/v1/models/m/versions/9223372036854775807:predict", 9223372036854775807n],
  ])("asks for %o", async (spec, target, version) => {
    const result = await transport.predict(spec, x, { ...soon(), signature: halfPlusTwo });
    expect(server.seen[0]?.target).toBe(target);
    expect(result.modelSpec.version).toBe(version);
  });

  it("keeps the prefix of its URL", async () => {
    const prefixed = createRestTransport({ url: `${server.url}/tf/serving/` });
    await prefixed.predict({ name: "m" }, x, { ...soon(), signature: halfPlusTwo });
    await prefixed.close();
    expect(server.seen[0]?.target).toBe("/tf/serving/v1/models/m:predict");
  });

  it("sends rows and stacks the predictions, with defaults filled in", async () => {
    server.answer = () => ({
      status: 200,
      body: '{"predictions": [{"p": 1, "q": {"b64": "/w=="}}, {"q": "z", "p": 9223372036854775807}]}',
    });
    const signature = {
      ...twoByTwo,
      inputs: { ...twoByTwo.inputs, b: { dtype: "string", shape: [null], default: tensor("string", [2], ["d", "e"]) } },
    } as const;
    const result = await transport.predict(
      { name: "m", signatureName: "sig" },
      { a: tensor("int64", [2], [1n, 9223372036854775807n]) },
      { ...soon(), signature, restFormat: "row" },
    );
    expect(sentBody()).toBe('{"signature_name":"sig","instances":[{"a":1,"b":"d"},{"a":9223372036854775807,"b":"e"}]}');
    expect(result.outputs.p?.values).toEqual(BigInt64Array.of(1n, 9223372036854775807n));
    expect(result.outputs.q?.values).toEqual([Uint8Array.of(255), Uint8Array.of(122)]);
  });

  it("fetches the signature itself when it is not given one", async () => {
    const info = (dtype: string) => ({ name: "n", dtype, tensor_shape: { dim: [{ size: "-1", name: "" }], unknown_rank: false } });
    const signature = { inputs: { x: info("DT_FLOAT") }, outputs: { y: info("DT_DOUBLE") }, method_name: "m", defaults: {} };
    const metadata = {
      model_spec: { name: "m", version: "7" },
      metadata: { signature_def: { signature_def: { serving_default: signature } } },
    };
    server.answer = ({ method }) => ({ status: 200, body: method === "GET" ? JSON.stringify(metadata) : '{"outputs": [NaN]}' });
    const result = await transport.predict({ name: "m" }, x, soon());
    expect(server.seen.map(({ target }) => target)).toEqual(["/v1/models/m/metadata", "/v1/models/m:predict"]);
    expect(result.outputs.y).toMatchObject({ dtype: "float64", values: Float64Array.of(Number.NaN) });
  });

  it("lets the server refuse a signature it does not have", async () => {
    const metadata = { model_spec: { name: "m", version: "7" }, metadata: { signature_def: { signature_def: {} } } };
    server.answer = ({ method }) =>
      method === "GET"
        ? { status: 200, body: JSON.stringify(metadata) }
        : { status: 400, body: '{"error": "Serving signature name: \\"s\\" not found in signature def"}' };
    const error = await rpcError(transport.predict({ name: "m", signatureName: "s" }, { x: tensor("float16", [1], [1]) }, soon()));
    expect([error.code, error.serverMessage]).toEqual(["FAILED_PRECONDITION", 'Serving signature name: "s" not found in signature def']);
  });

  it.each([
    ["column", '{"inputs":["a"]}', '{"outputs": [2.5]}'],
    ["row", '{"instances":["a"]}', '{"predictions": [2.5]}'],
  ] as const)("sends an input called b64 without its name in %s format", async (restFormat, sent, body) => {
    server.answer = () => ({ status: 200, body });
    const signature: Signature = { ...halfPlusTwo, inputs: { b64: { dtype: "string", shape: [null] } } };
    await transport.predict({ name: "m" }, { b64: tensor("string", [1], ["a"]) }, { ...soon(), signature, restFormat });
    expect(sentBody()).toBe(sent);
  });

  it("applies the output filter to the answer", async () => {
    server.answer = () => ({ status: 200, body: '{"outputs": {"p": [1], "q": ["a"]}}' });
    const inputs = { a: tensor("int64", [1], [1n]) };
    const result = await transport.predict({ name: "m" }, inputs, { ...soon(), signature: twoByTwo, outputFilter: ["q"] });
    expect(Object.keys(result.outputs)).toEqual(["q"]);
  });

  it("gives the dimensions behind an empty list from the signature", async () => {
    server.answer = () => ({ status: 200, body: '{"outputs": []}' });
    const signature: Signature = { ...halfPlusTwo, outputs: { y: { dtype: "float32", shape: [null, 3, null] } } };
    expect((await predictX({ signature })).outputs.y?.shape).toEqual([0, 3, 0]);
  });
});

describe("gzip of request bodies", () => {
  const values = Float32Array.from({ length: 1000 }, (_, i) => i);
  const plain = JSON.stringify({ inputs: { x: [...values] } });

  async function predictWith(gzipMinBytes: number | undefined, options: object = {}): Promise<void> {
    const compressing = createRestTransport({ url: server.url, ...(gzipMinBytes === undefined ? {} : { gzipMinBytes }) });
    try {
      const inputs = { x: tensor("float32", [1000], values) };
      await compressing.predict({ name: "m" }, inputs, { ...soon(), signature: halfPlusTwo, ...options });
    } finally {
      await compressing.close();
    }
  }

  it("compresses from the given size on", async () => {
    await predictWith(plain.length);
    expect(server.seen[0]?.headers["content-encoding"]).toBe("gzip");
    expect(server.seen[0]?.body.length).toBeLessThan(plain.length / 2);
    expect(gunzipSync(server.seen[0]?.body ?? "").toString()).toBe(plain);
  });

  it.each([
    ["of one byte less", plain.length + 1],
    ["where no size is given", undefined],
  ])("sends bodies %s as they are", async (_, gzipMinBytes) => {
    await predictWith(gzipMinBytes);
    expect(server.seen[0]?.headers["content-encoding"]).toBeUndefined();
    expect(sentBody()).toBe(plain);
  });

  it("leaves requests without a body alone", async () => {
    server.answer = () => ({ status: 200, body: '{"model_version_status": []}' });
    const compressing = createRestTransport({ url: server.url, gzipMinBytes: 0 });
    await compressing.getModelStatus({ name: "m" }, soon());
    await compressing.close();
    expect(server.seen[0]?.headers["content-encoding"]).toBeUndefined();
  });

  it("sends bodies of 100 MiB and more as they are, which the server would take for empty ones", async () => {
    const text = "x".repeat(100 * 1024 ** 2);
    const compressing = createRestTransport({ url: server.url, gzipMinBytes: 0 });
    const signature: Signature = { ...halfPlusTwo, inputs: { x: { dtype: "string", shape: [] } } };
    await compressing.predict({ name: "m" }, { x: tensor("string", [], [text]) }, { ...soon(20_000), signature });
    await compressing.close();
    expect(server.seen[0]?.headers["content-encoding"]).toBeUndefined();
    expect(server.seen[0]?.body.length).toBe(text.length + '{"inputs":{"x":""}}'.length);
  });

  it("ends with the reason of a signal that aborts meanwhile, and sends nothing", async () => {
    const controller = new AbortController();
    const reason = new Error("no longer wanted");
    const metadata = async () => {
      // The next step of the call is to compress.
      queueMicrotask(() => queueMicrotask(() => controller.abort(reason)));
      return {};
    };
    expect(await rejection(predictWith(0, { signal: controller.signal, metadata }))).toBe(reason);
    expect(server.seen).toEqual([]);
  });

  it("is understood by the embedded server", async () => {
    const doubling = servable({
      signatures: {
        serving_default: { inputs: { x: { dtype: "float32", shape: [null] } }, outputs: { y: { dtype: "float32", shape: [null] } } },
      },
      predict: ({ x }) => ({
        y: tensor(
          "float32",
          x.shape,
          x.values.map((value) => 2 * value),
        ),
      }),
    });
    await using running = await startModelServer({ models: { m: doubling } });
    await using client = new PredictionClient(running.restTarget, { restGzipMinBytes: 0 });
    const { outputs } = await client.predict("m", { x: values });
    expect(outputs.y?.values).toEqual(values.map((value) => 2 * value));
  });
});

describe("predict refuses before it sends", () => {
  afterEach(() => expect(server.seen).toEqual([]));

  it.each(["float16", "bfloat16", "uint16", "int4", "float8_e5m2", "qint8", "complex64"] as const)(
    "dtype %s in inputs and outputs",
    async (dtype) => {
      const given = tensor(dtype, [0], new dtypes[dtype].array(0) as never);
      const signature: Signature = { ...halfPlusTwo, inputs: { x: { dtype, shape: [null] } }, outputs: { y: { dtype, shape: [null] } } };
      const error = await signatureError(transport.predict({ name: "m" }, { x: given }, { ...soon(), signature }));
      expect(error.differences.length).toBe(2);
      for (const difference of error.differences) expect(difference).toMatch(new RegExp(`${dtype}.*gRPC`));
    },
  );

  it("a shape that lists cannot tell", async () => {
    const error = await signatureError(
      transport.predict({ name: "m" }, { x: tensor("float32", [0, 3], []) }, { ...soon(), signature: halfPlusTwo }),
    );
    expect(error.message).toMatch(/^INVALID_ARGUMENT: predict m: .*\[0, 3\].*gRPC/);
  });

  it("what it cannot carry, naming the version", async () => {
    const inputs = { x: tensor("float32", [0, 3], []) };
    const error = await signatureError(transport.predict({ name: "m", version: 1 }, inputs, { ...soon(), signature: halfPlusTwo }));
    expect(error.message).toMatch(/^INVALID_ARGUMENT: predict m:1: /);
  });

  it.each([
    ["a scalar", { a: tensor("int64", [], [1n]), b: tensor("string", [1], ["d"]) }, /scalar/],
    ["no rows", { a: tensor("int64", [0], []), b: tensor("string", [0], []) }, /at least one row/],
    ["unequal rows", { a: tensor("int64", [2], [1n, 2n]), b: tensor("string", [1], ["d"]) }, /2 rows/],
  ])("row format with %s", async (_, inputs, text) => {
    const error = await signatureError(transport.predict({ name: "m" }, inputs, { ...soon(), signature: twoByTwo, restFormat: "row" }));
    expect(error.message).toMatch(text);
  });

  it("unknown and repeated names in the output filter, with the texts of gRPC", async () => {
    const unknown = await rpcError(predictX({ outputFilter: ["z"] }));
    expect([unknown.code, unknown.serverMessage]).toEqual([
      "INVALID_ARGUMENT",
      "output tensor alias not found in signature: z Outputs expected to be in the set {y}.",
    ]);
    const twice = await rpcError(predictX({ outputFilter: ["y", "y"] }));
    expect([twice.code, twice.serverMessage]).toEqual(["INVALID_ARGUMENT", "duplicate output tensor alias: y"]);
  });

  it("metadata that HTTP cannot carry", async () => {
    expect(await rejection(predictX({ metadata: { "k-bin": Uint8Array.of(1) } }))).toBeInstanceOf(TypeError);
    expect(await rejection(predictX({ metadata: { "bad name": "v" } }))).toBeInstanceOf(TypeError);
    expect(await rejection(predictX({ metadata: { name: "a\r\nb: c" } }))).toBeInstanceOf(TypeError);
    expect(await rejection(predictX({ metadata: { "content-length": "1" } }))).toBeInstanceOf(TypeError);
  });

  it("calls with less than 2 ms left or an aborted signal", async () => {
    expect(await rpcError(predictX(soon(1)))).toMatchObject({ code: "DEADLINE_EXCEEDED", serverMessage: passedBeforeSending });
    const reason = { why: "gone" };
    expect(await rejection(predictX({ signal: AbortSignal.abort(reason) }))).toBe(reason);
  });
});

describe("answers that are not what they should be", () => {
  it.each([
    ["no JSON", "hello"],
    ["no object", "[1]"],
    ["no key", "{}"],
    ["nothing", ""],
    ["JSON cut off", '{"outputs": [2.5'],
    ["lists nested without end", '{"outputs": '.concat("[".repeat(100_000))],
  ])("%s is an INTERNAL error", async (_, body) => {
    server.answer = () => ({ status: 200, body });
    const error = await rpcError(predictX());
    expect([error.code, error.transport, error.endpoint]).toEqual(["INTERNAL", "rest", new URL(server.url).host]);
  });

  it.each([
    ["ragged lists", "[[1.0], [1.0, 2.0]]"],
    ["text for numbers", '["a"]'],
    ["an object", '{"y": [1.0]}'],
  ])("%s is an error of this family that names the output", async (_, outputs) => {
    server.answer = () => ({ status: 200, body: `{"outputs": ${outputs}}` });
    const error = await rejection(predictX());
    expect(isServingError(error) && error.message).toContain('output "y"');
  });

  it("keeps only the start of an endless error page", async () => {
    server.answer = () => ({ status: 503, headers: { "content-type": "text/html" }, body: "x".repeat(5_000_000) });
    const error = await rpcError(predictX());
    expect(error.code).toBe("UNAVAILABLE");
    expect(error.message.length).toBeLessThan(1000);
  });

  it("are refused beyond maxResponseBytes, and no longer read", async () => {
    let cutOff: (() => void) | undefined;
    const ended = new Promise<void>((resolve) => {
      cutOff = resolve;
    });
    const endless = createHttpServer((_request, response) => {
      response.on("close", () => cutOff?.());
      const more = () => {
        while (!response.destroyed && response.write("1.0, ".repeat(1000))) {}
      };
      response.on("drain", more).writeHead(200, { "content-type": "application/json" });
      more();
    });
    await new Promise<void>((resolve) => endless.listen(0, "127.0.0.1", resolve));
    const { port } = endless.address() as { port: number };
    const limited = createRestTransport({ url: `http://127.0.0.1:${port}`, maxResponseBytes: 10_000 });
    const error = await rpcError(limited.predict({ name: "m" }, x, { ...soon(), signature: halfPlusTwo }));
    expect([error.code, error.hint]).toEqual(["RESOURCE_EXHAUSTED", expect.stringContaining("maxResponseBytes")]);
    await ended;
    await limited.close();
    await new Promise((resolve) => endless.close(resolve));
  });

  it("are taken at exactly maxResponseBytes, and errors whatever their size", async () => {
    const limited = createRestTransport({ url: server.url, maxResponseBytes: '{"outputs": [2.5]}'.length });
    const call = () => limited.predict({ name: "m" }, x, { ...soon(), signature: halfPlusTwo });
    expect((await call()).outputs.y?.size).toBe(1);
    server.answer = () => ({ status: 404, body: '{"error": "Servable not found for request: Latest(m)"}' });
    expect((await rpcError(call())).code).toBe("NOT_FOUND");
    await limited.close();
  });

  it("says that a port which does not speak HTTP is the wrong one", async () => {
    const other = createServer((socket) =>
      socket
        .on("error", () => socket.destroy())
        .resume()
        .write("\0\0\x12\x04 not http"),
    );
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as { port: number };
    const wrong = createRestTransport({ url: `http://127.0.0.1:${port}` });
    const error = await rpcError(wrong.getModelStatus({ name: "m" }, soon()));
    expect([error.code, error.hint]).toEqual(["INTERNAL", expect.stringContaining("8501")]);
    await wrong.close();
    await new Promise((resolve) => other.close(resolve));
  });

  it("reports a server that is not there as UNAVAILABLE", async () => {
    await server.close();
    const error = await rpcError(predictX());
    expect([error.code, error.retryable]).toEqual(["UNAVAILABLE", true]);
    expect(error.serverMessage).toContain("ECONNREFUSED");
  });
});

describe("deadline, signal and close", () => {
  beforeEach(() => {
    server.answer = () => "hang";
  });

  it("ends a call at its deadline", async () => {
    const start = performance.now();
    expect(await rpcError(predictX(soon(60)))).toMatchObject({ code: "DEADLINE_EXCEEDED", serverMessage: passedBeforeAnswer });
    expect(performance.now() - start).toBeLessThan(1000);
  });

  it("rejects with the reason of the signal", async () => {
    const controller = new AbortController();
    const reason = new Error("no longer wanted");
    server.answer = () => {
      controller.abort(reason);
      return "hang";
    };
    expect(await rejection(predictX({ signal: controller.signal }))).toBe(reason);
  });

  it("does not wait for a metadata function beyond the deadline", async () => {
    const metadata = () => new Promise<never>(() => {});
    const error = await rpcError(predictX({ ...soon(60), metadata }));
    expect(error).toMatchObject({ code: "DEADLINE_EXCEEDED", serverMessage: passedBeforeSending });
  });

  it("fails with UNAUTHENTICATED where the metadata function does, and sends nothing", async () => {
    const cause = new Error("no token");
    const failing = () => {
      throw cause;
    };
    for (const metadata of [() => Promise.reject(cause), failing]) {
      expect(await rejection(predictX({ metadata }))).toMatchObject({
        name: "ServingError",
        code: "UNAUTHENTICATED",
        message: "UNAUTHENTICATED: predict m: the metadata function failed: no token",
        retryable: false,
        hint: expect.stringContaining("nothing was sent"),
        cause,
      });
    }
    expect(server.seen).toEqual([]);
  });

  it("rejects with the reason of a signal whose abort makes the metadata function fail", async () => {
    const abort = new AbortController();
    const metadata = () => new Promise<never>((_, reject) => abort.signal.addEventListener("abort", () => reject(new Error("no token"))));
    const call = rejection(predictX({ signal: abort.signal, metadata }));
    setImmediate(() => abort.abort("enough"));
    expect(await call).toBe("enough");
  });

  it("cancels running calls when it is closed", async () => {
    let arrived = () => {};
    const seen = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    server.answer = () => {
      arrived();
      return "hang";
    };
    const running = rpcError(predictX());
    await seen;
    await transport.close();
    expect((await running).code).toBe("CANCELLED");
    expect((await rpcError(predictX())).code).toBe("CANCELLED");
  });

  it("sends metadata as headers, lists as several, and asks a function for each call", async () => {
    server.answer = () => ({ status: 200, body: '{"outputs": [2.5]}' });
    await predictX({ metadata: async () => ({ authorization: "Bearer t", "x-many": ["a", "b"] }) });
    expect(server.seen[0]?.headers).toMatchObject({ authorization: "Bearer t", "x-many": "a, b" });
  });
});

describe("an idle transport", () => {
  /** Run a program that makes calls and never closes its transport; resolves when the process ends by itself. */
  async function run(call: string): Promise<string> {
    const program = `
      import { createRestTransport } from ${JSON.stringify(new URL("../../../src/transport/rest/transport.ts", import.meta.url).href)};
      const transport = createRestTransport({ url: ${JSON.stringify(server.url)} });
      ${call}
      const end = performance.now();
      process.on("exit", () => console.log(performance.now() - end < 1000 ? "at once" : "late"));`;
    const args = ["--import", "tsx", "--input-type=module", "--eval", program];
    return (await promisify(execFile)(process.execPath, args, { timeout: 15_000 })).stdout.trim();
  }

  it("does not keep the process alive after a call", async () => {
    server.answer = () => ({ status: 200, body: '{"model_version_status": []}' });
    expect(await run('await transport.getModelStatus({ name: "m" }, { deadline: performance.now() + 5000 });')).toBe("at once");
  }, 20_000);

  it("gives up connecting when the last call that waits for it has met its deadline", async () => {
    const { connect, abandon } = createConnector();
    const outcome = new Promise((resolve) => {
      connect({ hostname: "127.0.0.1", port: new URL(server.url).port, protocol: "http:" }, (...result) => resolve(result));
    });
    abandon();
    expect(await outcome).toMatchObject([{ message: "no call waits for this connection" }]);
  });

  it("does not keep the process alive after a deadline", async () => {
    server.answer = () => "hang";
    const call = 'await transport.getModelStatus({ name: "m" }, { deadline: performance.now() + 100 }).catch(() => {});';
    expect(await run(call)).toBe("at once");
  }, 20_000);
});
