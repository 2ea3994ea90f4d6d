import { createServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { GetModelStatusResponse } from "../../gen/tensorflow_serving/apis/get_model_status.js";
import { PredictionClient } from "../../src/client/prediction-client.js";
import { statusesToProto } from "../../src/messages.js";
import type { ModelVersionStatus } from "../../src/transport/transport.js";
import { startCannedGrpcServer } from "../support/canned-grpc-server.js";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A port where nothing listens yet. */
async function freePort(): Promise<number> {
  const server = createTcpServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const available: ModelVersionStatus = { version: 1n, state: "AVAILABLE", errorCode: "OK", errorMessage: "" };

/** Wait for a model; the server starts once the client has been refused. */
async function waitWhileStarting(client: PredictionClient, start: () => Promise<unknown>): Promise<ModelVersionStatus> {
  closers.push(() => client.close());
  await expect(client.getModelStatus("m")).rejects.toMatchObject({ code: "UNAVAILABLE", hint: expect.stringContaining("nothing listens") });
  const waiting = client.waitForModel("m", { timeoutMs: 10_000, pollIntervalMs: 20 });
  await start();
  return waiting;
}

describe("waitForModel on a server that still starts (trap 28)", () => {
  it("finds it over gRPC", async () => {
    const port = await freePort();
    const bytes = GetModelStatusResponse.encode(statusesToProto([available])).finish();
    const start = async () => {
      const server = await startCannedGrpcServer(() => ({ bytes }), `127.0.0.1:${port}`);
      closers.push(() => server.close());
    };
    const from = performance.now();
    expect(await waitWhileStarting(new PredictionClient("127.0.0.1", port), start)).toEqual(available);
    // grpc-js would look again only after a second or more.
    expect(performance.now() - from).toBeLessThan(3000);
  });

  it("finds it over REST", async () => {
    const port = await freePort();
    const body = '{"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}]}';
    const start = async () => {
      const server = createServer((_request, response) => response.end(body));
      await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
      closers.push(
        () => server.closeAllConnections(),
        () => server.close(),
      );
    };
    expect(await waitWhileStarting(new PredictionClient(`http://127.0.0.1:${port}`), start)).toEqual(available);
  });
});
