/** Keepalive pings against TensorFlow Serving's rule for them, with its 5 minutes scaled down. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, describe, expect, it } from "vitest";
import { PredictionClient } from "../../src/index.js";
import { grpcTransportDefaults } from "../../src/transport/grpc/transport.js";
import { startCannedGrpcServer } from "../support/canned-grpc-server.js";
import { answerCall, anyInputs, cannedOutputs, startHttp2Peer } from "./peers.js";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** Pings that come closer than this while the server is silent are counted; the real server's value is 5 minutes. */
const minIntervalMs = 100;
/** The ping that comes too close this often ends the connection. */
const maxStrikes = 5;
const enhanceYourCalm = 0xb;

/** A server that leaves calls unanswered until this many pings have come, and watches how far apart they are. */
async function startPingPolice({ answerAfter }: { readonly answerAfter: number }) {
  let pings = 0;
  const calls: (() => void)[] = [];
  const peer = await startHttp2Peer({
    onSession(session) {
      let [lastPing, strikes] = [Number.NEGATIVE_INFINITY, 0];
      session.on("ping", () => {
        const now = performance.now();
        if (now - lastPing < minIntervalMs) strikes++;
        lastPing = now;
        pings++;
        if (strikes === maxStrikes) session.goaway(enhanceYourCalm, 0, Buffer.from("too_many_pings"));
        if (pings === answerAfter) for (const answer of calls) answer();
      });
    },
    onCall: (stream) => calls.push(() => answerCall(stream)),
  });
  closers.push(() => peer.close());
  return { ...peer, pings: () => pings, calls };
}

function clientOf(address: string, keepaliveMs?: number): PredictionClient {
  const client = new PredictionClient(address, { keepaliveMs });
  closers.push(() => client.close({ force: true }));
  return client;
}

const ourFault = {
  name: "RpcError",
  hint: expect.stringMatching(/^the server ended the connection, normally because of keepalive pings .*leave keepaliveMs at its default/),
};

describe("keepaliveMs", () => {
  it("below the server's rule ends the call as our own fault, which sending it again would not mend", async () => {
    const police = await startPingPolice({ answerAfter: Number.POSITIVE_INFINITY });
    await expect(clientOf(police.address, minIntervalMs / 10).predict("m", anyInputs)).rejects.toMatchObject({
      ...ourFault,
      code: "RESOURCE_EXHAUSTED",
      retryable: false,
      serverMessage: "Bandwidth exhausted or memory limit exceeded",
    });
    expect(police.calls.length).toBe(1);
  });

  it("above it keeps a silent call alive", async () => {
    const police = await startPingPolice({ answerAfter: maxStrikes + 3 });
    expect((await clientOf(police.address, minIntervalMs * 1.5).predict("m", anyInputs)).outputs).toEqual(cannedOutputs);
    expect(police.connections()).toBe(1);
  });

  it("means nothing while no call runs", async () => {
    const police = await startPingPolice({ answerAfter: 1 });
    const client = clientOf(police.address, minIntervalMs / 10);
    await client.predict("m", anyInputs);
    const after = police.pings();
    await new Promise((resolve) => setTimeout(resolve, minIntervalMs));
    // One may have been on its way.
    expect(police.pings()).toBeLessThanOrEqual(after + 1);
  });

  it("is 310 s by default for grpc-js, which is more than the server's 5 minutes", async () => {
    const server = await startCannedGrpcServer(() => ({ code: 5, message: "not here" }));
    closers.push(() => server.close());
    const source = new URL("../../src/index.ts", import.meta.url).href;
    const program = `const { PredictionClient } = await import(${JSON.stringify(source)});
      const client = new PredictionClient(${JSON.stringify(server.target)});
      await client.getModelStatus("m").catch(() => undefined);
      await client.close();`;
    const { stderr } = await promisify(execFile)(process.execPath, ["--import", "tsx", "--input-type=module", "-e", program], {
      cwd: fileURLToPath(new URL("../..", import.meta.url)),
      env: { ...process.env, GRPC_VERBOSITY: "DEBUG", GRPC_TRACE: "subchannel" },
    });
    expect(stderr).toMatch(/"grpc\.keepalive_time_ms": 310000,/);
    expect(stderr).toMatch(/"grpc\.keepalive_permit_without_calls": 0,/);
    expect(grpcTransportDefaults.keepaliveMs).toBe(310_000);
  });
});

describe("a server's word of too many pings", () => {
  it.each([
    [8, "RESOURCE_EXHAUSTED", "Bandwidth exhausted or memory limit exceeded"],
    [14, "UNAVAILABLE", "Too many pings"],
  ])("is our own fault, as status %i too", async (status, code, message) => {
    const server = await startCannedGrpcServer(() => ({ code: status, message }));
    closers.push(() => server.close());
    await expect(clientOf(server.target).predict("m", anyInputs)).rejects.toMatchObject({ ...ourFault, code, serverMessage: message });
  });
});
