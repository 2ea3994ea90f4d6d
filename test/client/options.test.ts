import { createServer as createHttp2Server } from "node:http2";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { PredictResponse } from "../../gen/tensorflow_serving/apis/predict.js";
import { PredictionClient } from "../../src/client/prediction-client.js";
import { predictResultToProto } from "../../src/messages.js";
import { servable, startModelServer } from "../../src/server/index.js";
import { tensor } from "../../src/tensor/tensor.js";
import type { TlsOptions } from "../../src/transport/tls.js";
import type { Middleware, Transport } from "../../src/transport/transport.js";
import { startCannedGrpcServer } from "../support/canned-grpc-server.js";
import { EchoTransport } from "../support/echo-transport.js";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const x = tensor("float32", [2], [1, 2]);

const echo = servable({
  signatures: {
    serving_default: { inputs: { x: { dtype: "float32", shape: [null] } }, outputs: { y: { dtype: "float32", shape: [null] } } },
  },
  predict: (inputs) => ({ y: inputs.x }),
});

/** The targets of one server, over both transports. */
async function startEcho(): Promise<readonly [string, string]> {
  const server = await startModelServer({ models: { m: echo } });
  closers.push(() => server.close());
  return [server.grpcTarget, server.restTarget];
}

function clientOf(...[to, options]: [string | Transport, object]): PredictionClient {
  const client = typeof to === "string" ? new PredictionClient(to, options) : new PredictionClient(to, options);
  closers.push(() => client.close());
  return client;
}

/** Middleware that notes the calls of predict and close that come by. */
function noting(name: string, log: string[]): Middleware {
  return (next) => ({
    ...next,
    predict(spec, inputs, options) {
      log.push(`${name} predict`);
      return next.predict(spec, inputs, options);
    },
    async close() {
      log.push(`${name} close`);
      await next.close();
    },
  });
}

/** A peer that speaks just enough HTTP/2 to be pinged, and answers no call. */
async function startCountingPings(): Promise<{ readonly target: string; readonly third: Promise<void> }> {
  const server = createHttp2Server();
  const third = new Promise<void>((resolve) => {
    let count = 0;
    server.on("session", (session) => {
      session
        .on("error", () => undefined)
        .on("ping", () => {
          count++;
          if (count === 3) resolve();
        });
    });
  });
  server.on("stream", (stream) => stream.on("error", () => undefined));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(() => server.close());
  return { target: `127.0.0.1:${(server.address() as AddressInfo).port}`, third };
}

describe("authority", () => {
  it("is what the server is told over gRPC", async () => {
    const modelSpec = { name: "m", version: 1n, signatureName: "s" };
    const bytes = PredictResponse.encode(predictResultToProto({ outputs: { x }, modelSpec })).finish();
    const told: string[] = [];
    const server = await startCannedGrpcServer(({ authority }) => {
      told.push(authority);
      return { bytes };
    });
    closers.push(() => server.close());
    await clientOf(server.target, { authority: "models.example:1" }).predict("m", { x });
    expect(told).toEqual(["models.example:1"]);
  });
});

describe("keepaliveMs", () => {
  it("is the time between pings while a call runs over gRPC", async () => {
    const pings = await startCountingPings();
    const client = clientOf(pings.target, { keepaliveMs: 20 });
    const call = client.predict("m", { x }).catch(() => undefined);
    await pings.third;
    await client.close({ force: true });
    await call;
  });
});

describe("maxResponseBytes", () => {
  it("refuses larger answers with one code and hint over both transports", async () => {
    const large = { x: tensor("float32", [10_000], new Float32Array(10_000)) };
    for (const target of await startEcho()) {
      const client = clientOf(target, { maxResponseBytes: 4096 });
      await expect(client.predict("m", large)).rejects.toMatchObject({
        name: "RpcError",
        code: "RESOURCE_EXHAUSTED",
        hint: expect.stringContaining("maxResponseBytes"),
      });
      expect((await client.predict("m", { x })).outputs.y).toEqual(x);
    }
  });
});

describe("middleware", () => {
  it("wraps both transports, the first outermost, and is closed with them", async () => {
    for (const target of await startEcho()) {
      const log: string[] = [];
      const client = new PredictionClient(target, { middleware: [noting("a", log), noting("b", log)] });
      expect((await client.predict("m", { x })).outputs.y).toEqual(x);
      await client.close();
      expect(log).toEqual(["a predict", "b predict", "a close", "b close"]);
    }
  });

  it("wraps a transport of one's own, whose needsSignature is then the middleware's to tell", async () => {
    const own = new EchoTransport(true);
    const passOn: Middleware = (next) => ({
      predict: (...args) => next.predict(...args),
      classify: (...args) => next.classify(...args),
      regress: (...args) => next.regress(...args),
      multiInference: (...args) => next.multiInference(...args),
      getModelMetadata: (...args) => next.getModelMetadata(...args),
      getModelStatus: (...args) => next.getModelStatus(...args),
      reloadConfig: (...args) => next.reloadConfig(...args),
      close: () => next.close(),
    });
    const client = new PredictionClient(own, { middleware: [passOn] });
    await client.predict("m", { x });
    await client.close();
    expect([own.predicts.length, own.lookUps, own.closed]).toEqual([1, 0, 1]);
  });

  it("that never answers does not hold a call up beyond its deadline", async () => {
    const [target] = await startEcho();
    const stuck: Middleware = (next) => ({ ...next, predict: () => new Promise<never>(() => undefined) });
    const call = clientOf(target, { middleware: [stuck] }).predict("m", { x }, { timeoutMs: 50 });
    await expect(call).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
  });

  it("has to return a Transport", async () => {
    const none = (() => undefined) as unknown as Middleware;
    const message = "middleware[1]: expected it to return a Transport, got undefined";
    const middleware = [(next: Transport) => next, none];
    expect(() => new PredictionClient(new EchoTransport(), { middleware })).toThrow(new TypeError(message));
    const [target] = await startEcho();
    await expect(clientOf(target, { middleware }).predict("m", { x })).rejects.toThrow(new TypeError(message));
  });
});

describe("tls", () => {
  const block = (label: string) => `-----BEGIN ${label}-----\nAAAA\n-----END ${label}-----\n`;

  it.each<[true | TlsOptions]>([
    [true],
    [{}],
    [{ ca: block("CERTIFICATE") }],
    [{ ca: new TextEncoder().encode(block("CERTIFICATE")), serverName: "models.example", insecureSkipVerify: false }],
    [{ cert: { file: "c.pem" }, key: { file: "c.key" } }],
    [{ ca: undefined, cert: undefined, key: undefined }],
  ])("takes %j and reads nothing before the first call", (tls) => {
    expect(() => new PredictionClient("host:1", { tls })).not.toThrow();
  });
});

describe("rejects", () => {
  it.each(["telemetry"])("the option %s, which this version does not have", (name) => {
    const message = `${name}: this option is not available in this version`;
    expect(() => new PredictionClient("host:1", { [name]: {} })).toThrow(new TypeError(message));
  });

  it("an unknown option, naming those there are", () => {
    const message = /^timeout: unknown option, expected one of authority, .*check, .*timeoutMs/;
    expect(() => new PredictionClient("host:1", { timeout: 5 } as object)).toThrow(TypeError);
    expect(() => new PredictionClient("host:1", { timeout: 5 } as object)).toThrow(message);
  });

  it("no option that is undefined", () => {
    expect(() => new PredictionClient("host:1", { tls: undefined, timeout: undefined } as object)).not.toThrow();
  });

  it.each([
    [{ retry: true }, TypeError, "retry: expected false or an object, got true"],
    [{ retry: null }, TypeError, "retry: expected false or an object, got null"],
    [{ retry: { maxAttempts: 3 } }, TypeError, "retry.maxAttempts: unknown option, expected one of attemptTimeoutMs, "],
    [{ retry: { maxRetries: -1 } }, RangeError, "retry.maxRetries: expected a whole number from 0 up, got -1"],
    [{ retry: { maxRetries: 1.5 } }, RangeError, "retry.maxRetries: expected a whole number from 0 up, got 1.5"],
    [{ retry: { maxRetries: "1" } }, TypeError, "retry.maxRetries: expected a number"],
    [{ retry: { attemptTimeoutMs: 0 } }, RangeError, "retry.attemptTimeoutMs: expected a positive, finite number"],
    [{ retry: { initialBackoffMs: -1 } }, RangeError, "retry.initialBackoffMs: expected a positive, finite number"],
    [{ retry: { maxBackoffMs: "1" } }, TypeError, "retry.maxBackoffMs: expected a number"],
    [{ concurrency: 8 }, TypeError, "concurrency: expected an object, got 8"],
    [{ concurrency: [] }, TypeError, "concurrency: expected an object, got a list of 0"],
    [{ concurrency: { max: 8 } }, TypeError, "concurrency.max: unknown option, expected one of maxInFlight, maxQueued, "],
    [{ concurrency: { maxInFlight: 0 } }, RangeError, "concurrency.maxInFlight: expected a whole number from 1 up, got 0"],
    [{ concurrency: { maxQueued: -1 } }, RangeError, "concurrency.maxQueued: expected a whole number from 0 up, got -1"],
    [{ concurrency: { queueTimeoutMs: Infinity } }, RangeError, "concurrency.queueTimeoutMs: expected a positive, finite number"],
    [{ tls: false }, TypeError, "tls: expected true or an object, got false"],
    [{ tls: null }, TypeError, "tls: expected true or an object, got null"],
    [{ tls: "-----BEGIN PRIVATE KEY-----" }, TypeError, "tls: expected true or an object, got a string"],
    [{ tls: { certificate: "" } }, TypeError, "tls.certificate: unknown option, expected one of ca, cert, "],
    [
      { tls: { ca: "ca.pem" } },
      TypeError,
      'tls.ca: expected PEM as text, as a Uint8Array or as { file: path }, got a string without "-----BEGIN"',
    ],
    [
      { tls: { ca: Uint8Array.of(0x30) } },
      TypeError,
      "tls.ca: expected PEM as text, as a Uint8Array or as { file: path }, got a Uint8Array without",
    ],
    [{ tls: { ca: ["ca.pem"] } }, TypeError, "tls.ca: expected PEM as text, as a Uint8Array or as { file: path }, got a list of 1"],
    [{ tls: { ca: { path: "ca.pem" } } }, TypeError, "tls.ca: expected PEM as text, as a Uint8Array or as { file: path }, got an object"],
    [{ tls: { ca: { file: "ca.pem", watch: true } } }, TypeError, "tls.ca.watch: unknown option, expected one of file"],
    [{ tls: { ca: { file: "" } } }, TypeError, "tls.ca.file: expected a path, got an empty string"],
    [{ tls: { cert: { file: "c.pem" } } }, TypeError, "tls.cert: expected tls.key beside it, got none"],
    [{ tls: { key: { file: "c.key" } } }, TypeError, "tls.key: expected tls.cert beside it, got none"],
    [{ tls: { serverName: "" } }, TypeError, "tls.serverName: expected a host name without a port"],
    [{ tls: { serverName: 1 } }, TypeError, "tls.serverName: expected a host name without a port, got 1"],
    [{ tls: { insecureSkipVerify: "yes" } }, TypeError, "tls.insecureSkipVerify: expected a boolean, got a string"],
    [{ proxy: "http://proxy:3128" }, TypeError, 'proxy: expected "environment", got a string'],
    [{ proxy: true }, TypeError, 'proxy: expected "environment", got true'],
    [{ authority: "" }, TypeError, "authority: expected a host name"],
    [{ authority: "a b" }, TypeError, "authority: expected a host name"],
    [{ authority: 1 }, TypeError, "authority: expected a host name"],
    [{ keepaliveMs: "1" }, TypeError, "keepaliveMs: expected a number"],
    [{ keepaliveMs: 0 }, RangeError, "keepaliveMs: expected a positive, finite number"],
    [{ maxResponseBytes: "1" }, TypeError, "maxResponseBytes: expected a number"],
    [{ maxResponseBytes: 0 }, RangeError, "maxResponseBytes: expected a number of bytes from 1 up, got 0"],
    [{ middleware: () => undefined }, TypeError, "middleware: expected an array of functions"],
    [{ middleware: [undefined] }, TypeError, "middleware[0]: expected a function"],
  ])("%j", (options, type, message) => {
    expect(() => new PredictionClient("host:1", options as object)).toThrow(type);
    expect(() => new PredictionClient("host:1", options as object)).toThrow(message);
  });

  it.each([{ retry: true }, { retry: {} }, { batch: true }, { batch: 0 }])("%j on a call, but not false", async (options) => {
    const client = new PredictionClient(new EchoTransport());
    const [name = ""] = Object.keys(options);
    await expect(client.predict("m", { x }, options as object)).rejects.toThrow(`${name}: expected false, got`);
    expect((await client.predict("m", { x }, { [name]: false })).outputs.x).toEqual(x);
  });
});

describe("secrets in mistakes", () => {
  const secret = "S3CR3T";
  const messageOf = async (act: () => unknown) => {
    try {
      await act();
    } catch (error) {
      return `${(error as Error).message} ${String((error as Error).cause ?? "")}`;
    }
    throw new Error("expected an error, got none");
  };

  it.each<[string, () => unknown]>([
    ["metadata that is no record", () => new PredictionClient("host:1", { metadata: secret } as never)],
    ["a -bin value that is text", () => new PredictionClient("host:1", { metadata: { "token-bin": secret } } as never)],
    ["a value with a line break over gRPC", () => clientOf("host:1", { metadata: { token: `${secret}\n` } }).predict("m", { x })],
    ["a value with a line break over REST", () => clientOf("http://host:1", { metadata: { token: `${secret}\n` } }).getModelStatus("m")],
    ["a function that gives the token alone", () => clientOf("host:1", { metadata: async () => secret } as object).predict("m", { x })],
    ["a key as path", () => new PredictionClient("host:1", { tls: { ca: { file: `-----BEGIN ${secret}` } } })],
    ["a key as serverName", () => new PredictionClient("host:1", { tls: { serverName: `-----BEGIN ${secret}` } })],
    ["credentials before a host", () => new PredictionClient(`user:${secret}@host`, 8500)],
    ["credentials with two @", () => new PredictionClient(`http://user:p@${secret}@host`)],
    ["credentials with a slash", () => new PredictionClient(`http://user:${secret}/x@host`)],
    ["a key in a query", () => new PredictionClient(`http://host?key=${secret}`)],
    ["credentials in authority", () => new PredictionClient("host:1", { authority: `user:${secret}@host` })],
    ["credentials in proxy", () => new PredictionClient("host:1", { proxy: `http://user:${secret}@host` as never })],
  ])("are not repeated: %s", async (_what, act) => {
    expect(await messageOf(act)).not.toContain(secret);
  });
});
