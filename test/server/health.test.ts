import { Client, credentials, status } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ModelServer, startModelServer } from "../../src/server/index.js";
import { rawGrpc } from "./raw-grpc.js";

let server: ModelServer;
let client: Client;
beforeAll(async () => {
  server = await startModelServer({ enableHealthService: true });
  client = new Client(server.grpcTarget, credentials.createInsecure());
});
afterAll(() => client.close());

const pass = (bytes: Buffer) => bytes;
/** HealthCheckRequest with a service, behind a field that nobody knows. */
const asking = (service: string) => Buffer.concat([Buffer.of(0x10, 0x01, 0x0a, service.length), Buffer.from(service)]);
const serving = Buffer.of(0x08, 0x01);
const serviceUnknown = Buffer.of(0x08, 0x03);

describe("grpc.health.v1.Health", () => {
  // Answers of Check are compared with recorded ones in golden.test.ts.

  it("reads requests with fields it does not know", async () => {
    expect((await rawGrpc(client, "/grpc.health.v1.Health/Check", asking("ModelService"))).bytes).toEqual(serving);
  });

  it("watches a service until the server closes, an unknown one too", async () => {
    const watches = ["PredictionService", "nope"].map((service) =>
      client.makeServerStreamRequest("/grpc.health.v1.Health/Watch", pass, pass, asking(service)),
    );
    const first = await Promise.all(watches.map((watch) => new Promise((resolve) => watch.once("data", resolve))));
    expect(first).toEqual([serving, serviceUnknown]);
    const ended = Promise.all(watches.map((watch) => new Promise((resolve) => watch.once("status", resolve))));
    await server.close();
    expect(await ended).toMatchObject([{ code: status.OK }, { code: status.OK }]);
  });

  it("is held while the server is paused", async () => {
    const paused = await startModelServer({ enableHealthService: true });
    const pausedClient = new Client(paused.grpcTarget, credentials.createInsecure());
    paused.pause();
    expect((await rawGrpc(pausedClient, "/grpc.health.v1.Health/Check", asking(""), 200)).code).toBe("DEADLINE_EXCEEDED");
    const watch = pausedClient.makeServerStreamRequest("/grpc.health.v1.Health/Watch", pass, pass, asking(""));
    const first = new Promise((resolve) => watch.once("data", resolve));
    const answer = rawGrpc(pausedClient, "/grpc.health.v1.Health/Check", asking(""));
    paused.resume();
    expect((await answer).bytes).toEqual(serving);
    expect(await first).toEqual(serving);
    const ended = new Promise((resolve) => watch.once("status", resolve));
    await paused.close();
    await ended;
    pausedClient.close();
  });

  it("takes any number of watches without a warning of leaks", async () => {
    const busy = await startModelServer({ enableHealthService: true });
    const busyClient = new Client(busy.grpcTarget, credentials.createInsecure());
    const warnings: Error[] = [];
    const warn = (warning: Error) => void warnings.push(warning);
    process.on("warning", warn);
    const watches = Array.from({ length: 12 }, () =>
      busyClient.makeServerStreamRequest("/grpc.health.v1.Health/Watch", pass, pass, asking("")),
    );
    await Promise.all(watches.map((watch) => new Promise((resolve) => watch.once("data", resolve))));
    const ended = Promise.all(watches.map((watch) => new Promise((resolve) => watch.once("status", resolve))));
    await busy.close();
    await ended;
    process.off("warning", warn);
    busyClient.close();
    expect(warnings).toEqual([]);
  });
});
