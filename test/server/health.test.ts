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
});
