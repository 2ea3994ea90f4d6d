/** Deadlines as the server sees them: always there, and made of what is left of the call's time. */
import { createServer as createHttpServer } from "node:http";
import { createServer, type IncomingHttpHeaders } from "node:http2";
import type { AddressInfo, Server } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import type { CallOptions } from "../../src/client/options.js";
import { PredictionClient } from "../../src/client/prediction-client.js";
import { sleep } from "../../src/deadline.js";
import { tensor } from "../../src/tensor/tensor.js";
import { exchanges } from "../server/golden-exchanges.js";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function clientOf(
  server: Server,
  options: ConstructorParameters<typeof PredictionClient>[1] & object = {},
): Promise<PredictionClient> {
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const client = new PredictionClient("127.0.0.1", (server.address() as AddressInfo).port, options as never);
  closers.push(
    () => server.close(),
    () => client.close(),
  );
  return client;
}

/** A gRPC server that refuses everything, and the headers it got. */
function refusingServer() {
  const seen: IncomingHttpHeaders[] = [];
  const server = createServer().on("stream", (stream, headers) => {
    seen.push(headers);
    stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-status": "7" }, { endStream: true });
  });
  return { server, seen };
}

/** A gRPC timeout in milliseconds, as its grammar says: at most 8 digits and a unit. */
function timeoutOf(headers: IncomingHttpHeaders | undefined): number {
  const [, digits, unit = ""] = /^(\d{1,8})([HMSmun])$/.exec(String(headers?.["grpc-timeout"])) ?? [];
  const units: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };
  return Number(digits) * (units[unit] ?? Number.NaN);
}

const x = { x: tensor("float32", [1], [1]) };
const config = { models: [{ name: "m", basePath: "/m", modelPlatform: "tensorflow" }] };
const calls: Readonly<Record<string, (client: PredictionClient, options: CallOptions) => Promise<unknown>>> = {
  predict: (client, options) => client.predict("m", x, options),
  "predict, at the look-up": (client, options) => client.predict("m", { x: [1] }, options),
  classify: (client, options) => client.classify("m", [{ x: 1 }], options),
  regress: (client, options) => client.regress("m", [{ x: 1 }], options),
  multiInference: (client, options) => client.multiInference([{ model: "m", method: "classify" }], [{ x: 1 }], options),
  getModelMetadata: (client, options) => client.getModelMetadata("m", options),
  getModelStatus: (client, options) => client.getModelStatus("m", options),
  waitForModel: (client, options) => client.waitForModel("m", options),
  reloadConfig: (client, options) => client.reloadConfig(config, options),
};

describe("the deadline of a gRPC call", () => {
  it.each(Object.entries(calls))("is sent by default: %s", async (name, call) => {
    const { server, seen } = refusingServer();
    const client = await clientOf(server);
    await expect(call(client, {})).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    expect(timeoutOf(seen[0])).toBeGreaterThan(25_000);
    // Every look at the status has 30 s of its own.
    expect(timeoutOf(seen[0]), name).toBeLessThanOrEqual(30_000);
  });

  it.each(Object.entries(calls).filter(([name]) => !name.includes("look-up")))(
    "is the call's own where it has one: %s",
    async (_name, call) => {
      const { server, seen } = refusingServer();
      const client = await clientOf(server);
      await expect(call(client, { timeoutMs: 5000 })).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
      expect(timeoutOf(seen[0])).toBeGreaterThan(2000);
      expect(timeoutOf(seen[0])).toBeLessThanOrEqual(5000);
    },
  );

  it("is what a metadata function left", async () => {
    const { server, seen } = refusingServer();
    const client = await clientOf(server, {
      metadata: async () => {
        await sleep(300);
        return {};
      },
    });
    await expect(client.getModelStatus("m", { timeoutMs: 5000 })).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    expect(timeoutOf(seen[0])).toBeLessThanOrEqual(4700);
  });

  it("is what the look-up of the signature left", async () => {
    const recorded = exchanges("metadata-status").find(({ id }) => id === "metadata-status/metadata/half_plus_two");
    const { bytes } = (recorded?.response as { bytes?: string } | undefined) ?? {};
    const message = Buffer.from(bytes ?? "", "base64");
    const seen: IncomingHttpHeaders[] = [];
    const server = createServer().on("stream", async (stream, headers) => {
      seen.push(headers);
      const isLookUp = String(headers[":path"]).endsWith("GetModelMetadata");
      if (isLookUp) await sleep(300);
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": isLookUp ? "0" : "7" }));
      const prefix = Buffer.alloc(5);
      prefix.writeUInt32BE(message.length, 1);
      stream.end(isLookUp ? Buffer.concat([prefix, message]) : undefined);
    });
    const client = await clientOf(server);
    await expect(client.predict("half_plus_two", { x: [1] }, { timeoutMs: 5000 })).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    expect(seen.map((headers) => String(headers[":path"]).split("/").at(-1))).toEqual(["GetModelMetadata", "Predict"]);
    expect(timeoutOf(seen[1])).toBeLessThanOrEqual(4700);
  });
});

describe("the deadline of a REST call", () => {
  it("covers a look-up and a call that would each come in time", async () => {
    const metadata = exchanges("metadata-status").find(({ id }) => id === "metadata-status/rest/metadata_half_plus_two");
    const seen: string[] = [];
    const server = createHttpServer(async (request, response) => {
      seen.push(String(request.method));
      await sleep(400);
      response.end(request.method === "GET" ? metadata?.response.body : '{"outputs": [2.5]}');
    });
    const client = await clientOf(server, { transport: "rest" });
    // Loading the transport takes time, too.
    await client.getModelMetadata("half_plus_two");
    seen.length = 0;
    await expect(client.predict("half_plus_two", { x: [1] }, { timeoutMs: 700 })).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    expect(seen).toEqual(["GET", "POST"]);
    expect((await client.predict("half_plus_two", { x: [1] }, { timeoutMs: 5000 })).outputs.y?.values).toEqual(Float32Array.of(2.5));
  });
});

describe("many calls at a time", () => {
  it.each(["grpc", "rest"] as const)("without signals or with one in common raise no warning of leaks over %s", async (transport) => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on("warning", onWarning);
    closers.push(() => process.off("warning", onWarning));
    const refusing = createHttpServer((_request, response) => response.writeHead(403).end());
    const client = await clientOf(transport === "grpc" ? refusingServer().server : refusing, { transport });
    const { signal } = new AbortController();
    for (const options of [{}, { signal }]) {
      const running = Array.from({ length: 30 }, () => client.getModelStatus("m", options));
      for (const outcome of await Promise.allSettled(running)) expect(outcome).toMatchObject({ reason: { code: "PERMISSION_DENIED" } });
    }
    // Warnings come a tick later.
    await new Promise((resolve) => setImmediate(resolve));
    expect(warnings).toEqual([]);
  });
});
