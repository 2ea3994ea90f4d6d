/** gRPC over unix sockets (`--grpc_socket_path`). */
import { existsSync, linkSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { PredictionClient } from "../../src/index.js";
import { startCannedGrpcServer } from "../support/canned-grpc-server.js";
import { anyInputs, cannedBytes, cannedOutputs } from "./peers.js";

const patience = { timeout: 10_000 };

describe.skipIf(process.platform === "win32")("a unix socket", () => {
  let folder: string;
  let path: string;
  let client: PredictionClient;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "tfserving-"));
    path = join(folder, "grpc.sock");
    client = new PredictionClient(`unix:${path}`);
  });
  afterEach(async () => {
    await client.close({ force: true });
    rmSync(folder, { recursive: true });
  });

  const startServer = () => startCannedGrpcServer(() => ({ bytes: cannedBytes }), `unix:${path}`);
  const predicted = async () => (await client.predict("m", anyInputs)).outputs;

  it("carries calls one after the other and at once", async () => {
    const server = await startServer();
    expect(await predicted()).toEqual(cannedOutputs);
    const results = await Promise.all(Array.from({ length: 50 }, predicted));
    expect(results).toEqual(Array.from({ length: 50 }, () => cannedOutputs));
    server.close();
  });

  it("carries calls again once the server is back on the same path", async () => {
    for (let round = 0; round < 3; round++) {
      const server = await startServer();
      // The first calls may meet the pause that follows a failed attempt to connect.
      await expect.poll(() => predicted().catch(String), patience).toEqual(cannedOutputs);
      server.close();
      await expect.poll(() => existsSync(path), patience).toBe(false);
      await expect(client.predict("m", anyInputs, { retry: false })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    }
  });

  it("that a server left behind when it was killed is told from one that is not there", async () => {
    const missing = { name: "RpcError", code: "UNAVAILABLE", endpoint: `unix:${path}`, retryable: true };
    await expect(predicted()).rejects.toMatchObject({
      ...missing,
      message: expect.stringContaining(`connect ENOENT ${path}`),
      hint: "no socket that this process may open is at the path: compare it with --grpc_socket_path",
    });
    await leaveBehind(path);
    await expect
      .poll(() => predicted().catch((error: unknown) => error), patience)
      .toMatchObject({
        ...missing,
        message: expect.stringContaining(`connect ECONNREFUSED ${path}`),
        hint: expect.stringMatching(/^nothing listens there: /),
      });
  });
});

/** Make a socket file that nobody listens on any more: the system removes none, and Node only the name it was told. */
async function leaveBehind(path: string): Promise<void> {
  const other = `${path}.other`;
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(other, resolve));
  linkSync(other, path);
  await new Promise((resolve) => server.close(resolve));
}
