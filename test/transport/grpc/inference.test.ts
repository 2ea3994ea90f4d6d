import { afterEach, describe, expect, it } from "vitest";
import { ReloadConfigResponse } from "../../../gen/tensorflow_serving/apis/model_management.js";
import { createGrpcTransport } from "../../../src/transport/grpc/transport.js";
import type { Transport } from "../../../src/transport/transport.js";
import { type CannedAnswer, type CannedCall, startCannedGrpcServer } from "../../support/canned-grpc-server.js";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function setUp(answer: (call: CannedCall) => CannedAnswer | Promise<CannedAnswer>) {
  const server = await startCannedGrpcServer(answer);
  const transport = createGrpcTransport({ target: server.target });
  closers.push(
    () => server.close(),
    () => transport.close(),
  );
  return { server, transport };
}

const soon = (timeoutMs = 10_000) => ({ deadline: performance.now() + timeoutMs });
const spec = { name: "m", version: 3, signatureName: "s" } as const;
const examples = [{}];

/** One call of each method that is not predict. */
const calls: readonly [string, (transport: Transport, options: ReturnType<typeof soon>) => Promise<unknown>, object | undefined][] = [
  ["classify", (transport, options) => transport.classify(spec, examples, options), spec],
  ["regress", (transport, options) => transport.regress(spec, examples, options), spec],
  ["multiInference", (transport, options) => transport.multiInference([{ spec, method: "classify" }], examples, options), spec],
  ["getModelMetadata", (transport, options) => transport.getModelMetadata(spec, options), spec],
  ["getModelStatus", (transport, options) => transport.getModelStatus(spec, options), spec],
  ["reloadConfig", (transport, options) => transport.reloadConfig({ models: [] }, options), undefined],
];

describe.each(calls)("%s", (method, call, modelSpec) => {
  it("fails with the server's status", async () => {
    const { server, transport } = await setUp(() => ({ code: 9, message: "not now" }));
    const error: unknown = await call(transport, soon()).catch((caught: unknown) => caught);
    const expected = {
      name: "RpcError",
      code: "FAILED_PRECONDITION",
      serverMessage: "not now",
      transport: "grpc",
      endpoint: server.target,
    };
    expect(error).toMatchObject(expected);
    expect((error as { modelSpec?: object }).modelSpec).toEqual(modelSpec);
    expect((error as Error).message).toBe(`FAILED_PRECONDITION: ${method}${modelSpec === undefined ? "" : " m:3"}: not now`);
  });

  it("fails at its deadline", async () => {
    const { transport } = await setUp(() => new Promise(() => undefined));
    await expect(call(transport, soon(50))).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
  });

  it("fails with INTERNAL for an answer in another language", async () => {
    const { transport } = await setUp(() => ({ bytes: Uint8Array.of(0xff) }));
    await expect(call(transport, soon())).rejects.toMatchObject({ name: "RpcError", code: "INTERNAL" });
  });
});

describe("reloadConfig", () => {
  it("fails with the status in the answer where that is not OK", async () => {
    const bytes = ReloadConfigResponse.encode(
      ReloadConfigResponse.fromPartial({ status: { errorCode: 5, errorMessage: "gone" } }),
    ).finish();
    const { transport } = await setUp(() => ({ bytes }));
    await expect(transport.reloadConfig({ models: [] }, soon())).rejects.toMatchObject({ code: "NOT_FOUND", serverMessage: "gone" });
  });

  it("takes an answer without a status for success", async () => {
    const { transport } = await setUp(() => ({ bytes: new Uint8Array() }));
    expect(await transport.reloadConfig({ models: [] }, soon())).toBeUndefined();
  });
});
