import { type Channel, connectivityState } from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import { TensorError } from "../../../src/errors.js";
import { RunningCalls } from "../../../src/running-calls.js";
import type { Channels } from "../../../src/transport/grpc/channels.js";
import { unaryCall } from "../../../src/transport/grpc/unary-call.js";

const steps = ["createCall", "start", "sendMessageWithContext", "startRead", "halfClose"] as const;

/** A connection that throws at one step of a call, and counts how often calls of it are cancelled. */
function brokenConnection(broken: (typeof steps)[number]) {
  const counts = { cancelled: 0 };
  const at = (step: string) => {
    if (step === broken) throw new Error(`broken ${step}`);
  };
  const call = Object.fromEntries(steps.map((step) => [step, () => at(step)]));
  const connection = {
    getConnectivityState: () => connectivityState.READY,
    createCall() {
      at("createCall");
      return { ...call, cancelWithStatus: () => counts.cancelled++ };
    },
  };
  return { connection: connection as unknown as Channel, counts };
}

function channelsOf(connection: Channel, running = new RunningCalls()): Channels {
  return { closed: false, forCall: () => ({ connection, running, heardAt: 0 }), doubt: () => undefined, close: () => undefined };
}

const context = { method: "predict", modelSpec: { name: "m" }, endpoint: "e:1" };

describe("unaryCall", () => {
  it.each(steps)("lets go of the signal and of the channel's calls where %s throws", async (step) => {
    const { connection, counts } = brokenConnection(step);
    const running = new RunningCalls();
    const { signal } = new AbortController();
    const listeners = { now: 0 };
    signal.addEventListener = () => void listeners.now++;
    signal.removeEventListener = () => void listeners.now--;
    const call = {
      path: "/s/m",
      context,
      encode: () => Buffer.alloc(0),
      decode: () => undefined,
    };
    await expect(unaryCall(channelsOf(connection, running), call, { deadline: performance.now() + 5000, signal })).rejects.toMatchObject({
      name: "RpcError",
      message: `INTERNAL: predict m: broken ${step}`,
      endpoint: "e:1",
      cause: { message: `broken ${step}` },
    });
    const cancelled = step === "createCall" ? 0 : 1;
    expect({ cancelled: counts.cancelled, listeners: listeners.now }).toEqual({ cancelled, listeners: 0 });
    // Closing the channel cancels what it still counts among its calls.
    running.close();
    expect(counts.cancelled).toBe(cancelled);
  });

  it("names the call where an input cannot be encoded", async () => {
    const { connection } = brokenConnection("createCall");
    const encode = () => {
      throw new TensorError('input "x" changed');
    };
    const call = { path: "/s/m", context, encode, decode: () => undefined };
    const sent = unaryCall(channelsOf(connection), call, { deadline: performance.now() + 5000 });
    await expect(sent).rejects.toMatchObject({ name: "TensorError", message: 'INVALID_ARGUMENT: predict m: input "x" changed' });
  });
});
