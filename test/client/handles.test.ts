/** Calls that end early, by abort or at their deadline: at once, whatever they wait for, and without a trace. */
import { getEventListeners } from "node:events";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CallOptions } from "../../src/client/options.js";
import { PredictionClient } from "../../src/client/prediction-client.js";
import { tensor } from "../../src/tensor/tensor.js";
import { eventually, type Handles, handles, type Point, startUnansweringPeer, type UnansweringPeer } from "./unanswering-peers.js";

type Call = (client: PredictionClient, options: CallOptions) => Promise<unknown>;

const x = { x: tensor("float32", [1], [1]) };
const tasks = [{ model: "m", method: "classify" }] as const;
const config = { models: [{ name: "m", basePath: "/m", modelPlatform: "tensorflow" }] };

/** Every method; those that REST does not have are refused there before any of this. */
const calls: Readonly<Record<string, Call>> = {
  predict: (client, options) => client.predict("half_plus_two", x, options),
  "predict, at the look-up": (client, options) => client.predict("m", { x: [1] }, options),
  "a model's predict, at the look-up": (client, options) => client.model("m").predict(x, options),
  classify: (client, options) => client.classify("m", [{ x: 1 }], options),
  regress: (client, options) => client.regress("m", [{ x: 1 }], options),
  multiInference: (client, options) => client.multiInference(tasks, [{ x: 1 }], options),
  getModelMetadata: (client, options) => client.getModelMetadata("m", options),
  getModelStatus: (client, options) => client.getModelStatus("m", options),
  waitForModel: (client, options) => client.waitForModel("m", options),
  reloadConfig: (client, options) => client.reloadConfig(config, options),
};

const points: readonly Point[] = ["in flight", "while the answer arrives", "connected to a silent peer", "connecting"];

const callsOf = (transport: "grpc" | "rest") =>
  Object.entries(calls).filter(([name]) => transport === "grpc" || (name !== "multiInference" && name !== "reloadConfig"));

describe.each(["rest", "grpc"] as const)("over %s", (transport) => {
  describe.each(points)("a call %s", (point) => {
    // The peer is a stopped process with a full backlog: other systems refuse or take such connections.
    if (point === "connecting" && process.platform !== "linux") {
      it.skip("is tried on Linux only");
      return;
    }
    let peer: UnansweringPeer;
    beforeAll(async () => {
      peer = await startUnansweringPeer(transport, point);
    });
    afterAll(() => peer.close());

    const newClient = () => new PredictionClient("127.0.0.1", peer.port, { transport });

    /** No timer runs on for a call that has ended; with its client all else goes, too. The test runner has timers that come and go. */
    async function expectNoTrace(client: PredictionClient, before: Handles): Promise<void> {
      await eventually(() => handles().timers <= before.timers);
      expect(handles().timers).toBeLessThanOrEqual(before.timers);
      await client.close();
      // grpc-js has no way to end an attempt to reach a host that does not even refuse: that is left to the system.
      if (transport === "grpc" && point === "connecting") return;
      await eventually(() => handles().sockets === before.sockets && peer.sockets() === 0);
      expect({ mine: handles().sockets, peers: peer.sockets() }).toEqual({ mine: before.sockets, peers: 0 });
    }

    it.each(callsOf(transport))("ends on abort: %s", async (_name, call) => {
      const before = handles();
      const client = newClient();
      const controller = new AbortController();
      const reason = new Error("enough");
      const running = call(client, { signal: controller.signal });
      const refused = expect(running).rejects.toBe(reason);
      await peer.hanging(before);
      const from = performance.now();
      controller.abort(reason);
      await refused;
      expect(performance.now() - from).toBeLessThan(1000);
      expect(getEventListeners(controller.signal, "abort")).toEqual([]);
      await expectNoTrace(client, before);
    });

    it.each(callsOf(transport))("ends at its deadline: %s", async (_name, call) => {
      const before = handles();
      const client = newClient();
      const { signal } = new AbortController();
      const from = performance.now();
      await expect(call(client, { signal, timeoutMs: 100 })).rejects.toMatchObject({ name: "RpcError", code: "DEADLINE_EXCEEDED" });
      expect(performance.now() - from).toBeLessThan(1100);
      if (point !== "connecting") await peer.hanging(before);
      expect(getEventListeners(signal, "abort")).toEqual([]);
      await expectNoTrace(client, before);
    });

    it.each(callsOf(transport))("does not begin after an abort: %s", async (_name, call) => {
      const before = { mine: handles().sockets, peers: peer.sockets() };
      const client = newClient();
      const signal = AbortSignal.abort("enough");
      await expect(call(client, { signal })).rejects.toBe("enough");
      expect(getEventListeners(signal, "abort")).toEqual([]);
      expect({ mine: handles().sockets, peers: peer.sockets() }).toEqual(before);
      await client.close();
    });
  });
});
