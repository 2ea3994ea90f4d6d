import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { PredictResponse } from "../../../gen/tensorflow_serving/apis/predict.js";
import { passedBeforeSending } from "../../../src/deadline.js";
import { predictResultToProto } from "../../../src/messages.js";
import { tensor } from "../../../src/tensor/tensor.js";
import { createGrpcTransport } from "../../../src/transport/grpc/transport.js";
import type { Transport, TransportPredictOptions } from "../../../src/transport/transport.js";
import { type CannedAnswer, type CannedCall, startCannedGrpcServer } from "../../support/canned-grpc-server.js";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const okBytes = PredictResponse.encode(
  predictResultToProto({ outputs: { y: tensor("float32", [1], [2.5]) }, modelSpec: { name: "m", version: 1n, signatureName: "s" } }),
).finish();

const ok: CannedAnswer = { bytes: okBytes };
const inputs = { x: tensor("float32", [1], [1]) };
const inTime = () => performance.now() + 20_000;

async function setUp(answer: (call: CannedCall) => CannedAnswer | Promise<CannedAnswer>, address?: string) {
  const calls: CannedCall[] = [];
  const server = await startCannedGrpcServer((call) => {
    calls.push(call);
    return answer(call);
  }, address);
  const transport = createGrpcTransport({ target: server.target });
  closers.push(
    () => server.close(),
    () => transport.close(),
  );
  return { calls, server, transport };
}

/** An answer that never comes, and the moment the server sees the call. */
function hanging() {
  let seen: (call: CannedCall) => void = () => {};
  const arrived = new Promise<CannedCall>((resolve) => {
    seen = resolve;
  });
  const answer = (call: CannedCall) => {
    seen(call);
    return new Promise<CannedAnswer>(() => {});
  };
  return { arrived, answer };
}

const predict = (transport: Transport, options: Partial<TransportPredictOptions> = {}) =>
  transport.predict({ name: "m" }, inputs, { deadline: inTime(), ...options });

describe("createGrpcTransport", () => {
  it("predicts over TCP", async () => {
    const { transport } = await setUp(() => ok);
    const { outputs, modelSpec } = await predict(transport);
    expect(outputs["y"]).toEqual(tensor("float32", [1], [2.5]));
    expect(modelSpec).toEqual({ name: "m", version: 1n, signatureName: "s" });
  });

  it("predicts over IPv6", async () => {
    const { transport } = await setUp(() => ok, "[::1]:0");
    expect((await predict(transport)).modelSpec.name).toBe("m");
  });

  it("predicts over a unix socket", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tfserving-"));
    closers.push(() => rmSync(folder, { recursive: true }));
    const { transport } = await setUp(() => ok, `unix:${folder}/s`);
    expect((await predict(transport)).modelSpec.name).toBe("m");
  });

  it("sends another authority where one is given", async () => {
    const { server, calls } = await setUp(() => ok);
    const transport = createGrpcTransport({ target: server.target, authority: "models.example:1" });
    closers.push(() => transport.close());
    await predict(transport);
    expect(calls[0]?.authority).toBe("models.example:1");
  });

  it("takes responses beyond 4 MiB", async () => {
    const outputs = { y: tensor("uint8", [5_000_000], new Uint8Array(5_000_000)) };
    const bytes = PredictResponse.encode(predictResultToProto({ outputs, modelSpec: { name: "m", signatureName: "s" } })).finish();
    const { transport } = await setUp(() => ({ bytes }));
    expect((await predict(transport)).outputs["y"]?.size).toBe(5_000_000);
  });

  it("refuses responses beyond maxResponseBytes, and takes those of exactly as many", async () => {
    const { server } = await setUp(() => ok);
    const limitedTo = (maxResponseBytes: number) => {
      const transport = createGrpcTransport({ target: server.target, maxResponseBytes });
      closers.push(() => transport.close());
      return transport;
    };
    expect((await predict(limitedTo(okBytes.length))).modelSpec.name).toBe("m");
    await expect(predict(limitedTo(okBytes.length - 1))).rejects.toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      retryable: false,
      hint: expect.stringContaining("maxResponseBytes"),
    });
  });

  it("sends metadata, asking a function for it", async () => {
    const { transport, calls } = await setUp(() => ok);
    const metadata = { authorization: "Bearer t", many: ["a", "b"], "trace-bin": Uint8Array.of(0, 255) };
    await predict(transport, { metadata: () => Promise.resolve(metadata) });
    const sent = calls[0]?.metadata;
    expect([sent?.get("authorization"), sent?.get("many"), sent?.get("trace-bin")]).toEqual([
      ["Bearer t"],
      ["a, b"],
      [Buffer.from([0, 255])],
    ]);
  });

  it("cancels running calls when it closes and refuses new ones", async () => {
    const { arrived, answer } = hanging();
    const { transport } = await setUp(answer);
    const running = predict(transport).catch((error: unknown) => error);
    await arrived;
    await transport.close();
    expect(await running).toMatchObject({ name: "RpcError", code: "CANCELLED" });
    await expect(predict(transport)).rejects.toMatchObject({ code: "CANCELLED", serverMessage: "the transport is closed" });
  });

  it("does not keep the process alive after a call without close", async () => {
    const { server } = await setUp(() => ok);
    const source = fileURLToPath(new URL("../../../src/", import.meta.url));
    const code = `
      import { createGrpcTransport } from ${JSON.stringify(`${source}transport/grpc/transport.ts`)};
      import { tensor } from ${JSON.stringify(`${source}tensor/tensor.ts`)};
      const transport = createGrpcTransport({ target: ${JSON.stringify(server.target)} });
      const result = await transport.predict({ name: "m" }, { x: tensor("float32", [1], [1]) }, { deadline: performance.now() + 20000 });
      console.log(result.outputs.y.values[0]);`;
    const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", code], { stdio: ["ignore", "pipe", "inherit"] });
    closers.push(() => child.kill());
    let output = "";
    child.stdout.on("data", (chunk) => {
      output += String(chunk);
    });
    const [exitCode] = await once(child, "close");
    expect([exitCode, output]).toEqual([0, "2.5\n"]);
  }, 20_000);
});

describe("createGrpcTransport rejects", () => {
  const noToken = new Error("no token");

  it("with the server's code and text", async () => {
    const { transport, server } = await setUp(() => ({ code: 5, message: "Servable not found for request: Latest(m)" }));
    await expect(predict(transport)).rejects.toMatchObject({
      name: "RpcError",
      code: "NOT_FOUND",
      message: "NOT_FOUND: predict m: Servable not found for request: Latest(m)",
      modelSpec: { name: "m" },
      endpoint: server.target,
      transport: "grpc",
      retryable: false,
      cause: { code: 5 },
    });
  });

  it("with UNAVAILABLE where nothing listens", async () => {
    const listener = createServer().listen(0, "127.0.0.1");
    await once(listener, "listening");
    const { port } = listener.address() as { port: number };
    listener.close();
    const transport = createGrpcTransport({ target: `127.0.0.1:${port}` });
    closers.push(() => transport.close());
    await expect(predict(transport)).rejects.toMatchObject({
      code: "UNAVAILABLE",
      retryable: true,
      hint: expect.stringContaining("nothing listens"),
    });
  });

  it("with INTERNAL where the response is garbage", async () => {
    const { transport } = await setUp(() => ({ bytes: Uint8Array.of(0x0a, 0xff) }));
    const unexpected = {
      name: "RpcError",
      code: "INTERNAL",
      serverMessage: expect.stringMatching(/^unexpected answer: ./),
      hint: expect.stringContaining("not what TensorFlow Serving sends"),
    };
    await expect(predict(transport)).rejects.toMatchObject(unexpected);
    const options = { deadline: inTime() };
    await expect(transport.getModelMetadata({ name: "m" }, options)).rejects.toMatchObject(unexpected);
    await expect(transport.classify({ name: "m" }, [{}], options)).rejects.toMatchObject(unexpected);
  });

  it("with INTERNAL where metadata holds no signatures", async () => {
    const { transport } = await setUp(() => ({ bytes: new Uint8Array() }));
    const call = transport.getModelMetadata({ name: "m" }, { deadline: inTime() });
    await expect(call).rejects.toMatchObject({ name: "RpcError", code: "INTERNAL", cause: { name: "FormatError" } });
  });

  it("with a TensorError that names the output where one cannot be decoded", async () => {
    const { transport } = await setUp(() => ({
      bytes: PredictResponse.encode(PredictResponse.fromPartial({ outputs: { y: { dtype: 20 } } })).finish(),
    }));
    await expect(predict(transport)).rejects.toMatchObject({ name: "TensorError", message: expect.stringContaining('output "y"') });
  });

  it("with DEADLINE_EXCEEDED when the deadline passes at the server", async () => {
    const { arrived, answer } = hanging();
    const { transport } = await setUp(answer);
    const call = predict(transport, { deadline: performance.now() + 300 });
    await expect(call).rejects.toMatchObject({ name: "RpcError", code: "DEADLINE_EXCEEDED" });
    await arrived;
  });

  it("with DEADLINE_EXCEEDED without sending where less than 2 ms are left", async () => {
    const { transport, calls } = await setUp(() => ok);
    const call = predict(transport, { deadline: performance.now() + 1.5 });
    await expect(call).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED", serverMessage: passedBeforeSending });
    expect(calls).toHaveLength(0);
  });

  it("with DEADLINE_EXCEEDED where the metadata function does not answer", async () => {
    const { transport, calls } = await setUp(() => ok);
    const call = predict(transport, { deadline: performance.now() + 50, metadata: () => new Promise(() => {}) });
    await expect(call).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED", serverMessage: passedBeforeSending });
    expect(calls).toHaveLength(0);
  });

  it("with the reason of a signal that aborts on the way, and tells the server", async () => {
    const { arrived, answer } = hanging();
    const { transport } = await setUp(answer);
    const abort = new AbortController();
    const call = predict(transport, { signal: abort.signal });
    const { cancelled } = await arrived;
    const seen = once(cancelled, "abort");
    const reason = new Error("enough");
    abort.abort(reason);
    await expect(call).rejects.toBe(reason);
    await seen;
  });

  it("with the reason of a signal that has aborted, without sending", async () => {
    const { transport, calls } = await setUp(() => ok);
    const reason = { any: "value" };
    await expect(predict(transport, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(calls).toHaveLength(0);
  });

  it("with the reason of a signal that aborts while the metadata function runs", async () => {
    const { transport, calls } = await setUp(() => ok);
    const abort = new AbortController();
    const call = predict(transport, { signal: abort.signal, metadata: () => new Promise(() => {}) });
    abort.abort("enough");
    await expect(call).rejects.toBe("enough");
    expect(calls).toHaveLength(0);
  });

  it.each([
    ["rejects", () => Promise.reject(noToken)],
    [
      "throws",
      () => {
        throw noToken;
      },
    ],
  ])("with UNAUTHENTICATED where the metadata function %s", async (_how, metadata) => {
    const { transport, calls } = await setUp(() => ok);
    await expect(predict(transport, { metadata })).rejects.toMatchObject({
      name: "ServingError",
      code: "UNAUTHENTICATED",
      message: "UNAUTHENTICATED: predict m: the metadata function failed: no token",
      retryable: false,
      hint: expect.stringContaining("nothing was sent"),
      cause: noToken,
    });
    expect(calls).toHaveLength(0);
  });

  it("with the reason of a signal whose abort makes the metadata function fail", async () => {
    const { transport } = await setUp(() => ok);
    const abort = new AbortController();
    const metadata = () => new Promise<never>((_, reject) => abort.signal.addEventListener("abort", () => reject(noToken)));
    const call = predict(transport, { signal: abort.signal, metadata });
    queueMicrotask(() => abort.abort("enough"));
    await expect(call).rejects.toBe("enough");
  });

  it.each<[string, TransportPredictOptions["metadata"] & object, string]>([
    ["bytes under a text key", { trace: Uint8Array.of(1) }, 'metadata "trace": expected a string, got a Uint8Array'],
    ["text under a -bin key", { "trace-bin": "x" }, 'metadata "trace-bin": expected a Uint8Array, as the key ends in -bin, got a string'],
    ["line breaks in a value", { a: "x\ny" }, 'metadata "a": '],
    ["spaces in a key", { "a b": "x" }, 'metadata "a b": '],
    ["reserved keys", { "grpc-timeout": "1S" }, 'metadata "grpc-timeout": expected a key without'],
    ["pseudo-headers", { ":path": "/x" }, 'metadata ":path": expected a key without'],
  ])("with a TypeError for %s", async (_title, metadata, message) => {
    const { transport, calls } = await setUp(() => ok);
    const error: unknown = await predict(transport, { metadata }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(TypeError);
    expect((error as Error).message).toContain(message);
    expect(calls).toHaveLength(0);
  });
});

describe("signals", () => {
  it("keep no listener after a call has settled", async () => {
    const { transport } = await setUp(() => ok);
    const abort = new AbortController();
    const counts = { added: 0, removed: 0 };
    const { signal } = abort;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      counts.added++;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      counts.removed++;
      remove(...args);
    };
    await predict(transport, { signal });
    expect(counts).toEqual({ added: 1, removed: 1 });
  });
});
