import { describe, expect, it } from "vitest";
import { RpcError, type StatusCode, TensorError } from "../../src/errors.js";
import { type RetryOptions, withRetry } from "../../src/middleware/retry.js";
import type { Signature } from "../../src/signature.js";
import { tensor } from "../../src/tensor/tensor.js";
import type { PredictResult, Transport, TransportPredictOptions } from "../../src/transport/transport.js";
import { EchoTransport } from "../support/echo-transport.js";

const x = tensor("float32", [2], [1, 2]);
const answer: PredictResult = { outputs: { x }, modelSpec: { name: "m", signatureName: "serving_default" } };

function rpcError(code: StatusCode, serverMessage: string, endpoint = "a:1"): RpcError {
  return new RpcError({ code, serverMessage, endpoint, method: "predict", transport: "grpc" });
}

const refused = () => rpcError("UNAVAILABLE", "try again later");
const lost = (endpoint?: string) => rpcError("UNAVAILABLE", "Connection dropped", endpoint);

interface SetUp {
  readonly outcomes: unknown[];
  readonly options?: RetryOptions;
  readonly random?: () => number;
  /** How much longer every pause takes than was asked for. */
  readonly oversleptMs?: number;
}

/** A clock that moves only while somebody sleeps, and a transport whose calls have the outcomes given, one after the other. */
function setUp({ outcomes, options = {}, random = () => 1, oversleptMs = 0 }: SetUp) {
  const at = { now: 1000 };
  const sent: { at: number; options: TransportPredictOptions }[] = [];
  const next = new EchoTransport();
  const answerOr = async (callOptions: TransportPredictOptions) => {
    sent.push({ at: at.now, options: callOptions });
    const outcome = outcomes[Math.min(sent.length, outcomes.length) - 1];
    if (outcome instanceof Error) throw outcome;
    return answer;
  };
  next.predict = (_spec, _inputs, callOptions) => answerOr(callOptions);
  const transport = withRetry(next, options, {
    now: () => at.now,
    sleep: async (delayMs, signal) => {
      signal?.throwIfAborted();
      at.now += delayMs + oversleptMs;
    },
    random,
  });
  const predict = (more: Partial<TransportPredictOptions> = {}) => transport.predict({ name: "m" }, { x }, { deadline: 60_000, ...more });
  return { at, next, sent, transport, predict, times: () => sent.map((attempt) => attempt.at) };
}

describe("withRetry", () => {
  it("sends a call once where it succeeds, with the caller's own options", async () => {
    const { predict, sent } = setUp({ outcomes: [answer] });
    const signal = new AbortController().signal;
    await expect(predict({ signal })).resolves.toBe(answer);
    expect(sent.map(({ options }) => options)).toEqual([{ deadline: 60_000, signal }]);
  });

  it("sends a refused call twice more by default, after pauses of up to 50 and 100 ms", async () => {
    const { predict, times } = setUp({ outcomes: [refused()] });
    await expect(predict()).rejects.toThrow("try again later");
    expect(times()).toEqual([1000, 1050, 1150]);
  });

  it("fails as the last attempt did where the pause takes all the time there was", async () => {
    const { predict, times } = setUp({ outcomes: [refused()], oversleptMs: 500 });
    await expect(predict({ deadline: 1200 })).rejects.toThrow("try again later");
    expect(times()).toEqual([1000]);
  });

  it("doubles the limit of the pause up to maxBackoffMs and takes a random part of it", async () => {
    const options = { maxRetries: 5, initialBackoffMs: 100, maxBackoffMs: 500 };
    const full = setUp({ outcomes: [refused()], options });
    await expect(full.predict()).rejects.toThrow();
    expect(full.times()).toEqual([1000, 1100, 1300, 1700, 2200, 2700]);
    const parts = [0, 0.5, 0.25, 0.1, 0.9];
    const jittered = setUp({ outcomes: [refused()], options, random: () => parts.shift() ?? 0 });
    await expect(jittered.predict()).rejects.toThrow();
    expect(jittered.times()).toEqual([1000, 1000, 1100, 1200, 1250, 1700]);
  });

  it("settles with the first answer, whatever failed before", async () => {
    const { predict, sent } = setUp({ outcomes: [refused(), refused(), answer] });
    await expect(predict()).resolves.toBe(answer);
    expect(sent).toHaveLength(3);
  });

  it("tells the next attempt which addresses failed", async () => {
    const { predict, sent } = setUp({ outcomes: [rpcError("UNAVAILABLE", "", "a:1"), rpcError("UNAVAILABLE", "", "b:1"), answer] });
    await predict();
    expect(sent.map(({ options }) => options.avoid)).toEqual([undefined, ["a:1"], ["a:1", "b:1"]]);
  });

  it.each([
    ["UNAVAILABLE", "The batch scheduling queue to which this task was submitted is full", 3],
    ["RESOURCE_EXHAUSTED", "Server Threadpool Exhausted", 3],
    ["RESOURCE_EXHAUSTED", "Run() timeout exceeded while waiting in batching queue", 1],
    ["RESOURCE_EXHAUSTED", "received initial metadata size exceeds limit", 1],
    ["RESOURCE_EXHAUSTED", "Bandwidth exhausted or memory limit exceeded", 1],
    ["FAILED_PRECONDITION", "Tensors with name 'x:0' from different tasks have different shapes", 2],
    ["UNAVAILABLE", "Too many pings", 2],
    ["UNAVAILABLE", "No connection established. Last error: Protocol error", 1],
    ["NOT_FOUND", "Servable not found for request: Latest(m)", 1],
    ["DEADLINE_EXCEEDED", "Deadline exceeded", 1],
    ["INTERNAL", "anything", 1],
  ] as const)("decides by code and text: %s %s is sent %i times (traps 20, 21, 22)", async (code, text, attempts) => {
    const { predict, sent } = setUp({ outcomes: [rpcError(code, text)] });
    await expect(predict()).rejects.toMatchObject({ code, serverMessage: text });
    expect(sent).toHaveLength(attempts);
  });

  it("does not send again what failed before it was sent", async () => {
    const { predict, sent } = setUp({ outcomes: [new TensorError("input: expected other values")] });
    await expect(predict()).rejects.toBeInstanceOf(TensorError);
    expect(sent).toHaveLength(1);
  });

  describe("with connections that are lost", () => {
    it("sends a call to a second server, but not to a third once it has taken two along (trap 41)", async () => {
      const { predict, sent } = setUp({ outcomes: [lost("a:1"), lost("b:1"), answer], options: { maxRetries: 9 } });
      await expect(predict()).rejects.toMatchObject({ endpoint: "b:1" });
      expect(sent).toHaveLength(2);
    });

    it("counts both losses where other failures stand between them", async () => {
      const { predict, sent } = setUp({ outcomes: [lost(), refused(), lost(), answer], options: { maxRetries: 9 } });
      await expect(predict()).rejects.toThrow("Connection dropped");
      expect(sent).toHaveLength(3);
    });

    it("never sends inputs again that break the known signature", async () => {
      const signature: Signature = { methodName: "", inputs: { x: { dtype: "float32", shape: [1, 64] } }, outputs: {} };
      const wrong = setUp({ outcomes: [lost(), answer] });
      await expect(wrong.predict({ signature })).rejects.toThrow("Connection dropped");
      expect(wrong.sent).toHaveLength(1);
      const right = setUp({ outcomes: [lost(), answer] });
      await right.predict({ signature: { ...signature, inputs: { x: { dtype: "float32", shape: [2] } } } });
      expect(right.sent).toHaveLength(2);
    });
  });

  describe("within the call's limits", () => {
    it("gives every attempt what is left of the time", async () => {
      const { predict, sent } = setUp({ outcomes: [refused()] });
      await expect(predict({ deadline: 5000 })).rejects.toThrow();
      expect(sent.map(({ options }) => options.deadline)).toEqual([5000, 5000, 5000]);
    });

    it("fails with what is known instead of pausing beyond the deadline", async () => {
      const { predict, times } = setUp({ outcomes: [refused()] });
      await expect(predict({ deadline: 1100 })).rejects.toMatchObject({ code: "UNAVAILABLE" });
      expect(times()).toEqual([1000, 1050]);
    });

    it("rejects with the caller's reason when it aborts during a pause", async () => {
      const controller = new AbortController();
      const reason = new Error("enough");
      const random = () => {
        controller.abort(reason);
        return 1;
      };
      const { predict, sent } = setUp({ outcomes: [refused()], random });
      await expect(predict({ signal: controller.signal })).rejects.toBe(reason);
      expect(sent).toHaveLength(1);
    });

    it("does not take the caller's reason for a failure, whatever it is", async () => {
      const reason = refused();
      const { predict, sent } = setUp({ outcomes: [reason, answer] });
      await expect(predict({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
      expect(sent).toHaveLength(1);
    });
  });

  describe("with its budget", () => {
    it("sends 1,249 failing calls again, then every fifth", async () => {
      const { predict, sent } = setUp({ outcomes: [refused()], options: { maxRetries: 1 } });
      const wasRetried = async () => {
        const before = sent.length;
        await predict({ deadline: 1e9 }).catch(() => undefined);
        return sent.length - before === 2;
      };
      for (let call = 1; call <= 1249; call++) expect(await wasRetried()).toBe(true);
      const later: boolean[] = [];
      for (let call = 0; call < 12; call++) later.push(await wasRetried());
      expect(later.flatMap((retried, call) => (retried ? [call] : []))).toEqual([1, 6, 11]);
    });

    it("saves 1,000 retries and no more", async () => {
      const outcomes: unknown[] = [answer];
      const { predict, sent } = setUp({ outcomes, options: { maxRetries: 5000 } });
      for (let call = 0; call < 100; call++) await predict();
      outcomes[0] = refused();
      const before = sent.length;
      await predict({ deadline: 1e9 }).catch(() => undefined);
      expect(sent.length - before - 1).toBe(1000);
    });

    it("spends nothing on a pause that the caller ends", async () => {
      const controller = new AbortController();
      const outcomes: unknown[] = [refused()];
      const { predict, sent } = setUp({
        outcomes,
        options: { maxRetries: 5000 },
        random: () => {
          if (sent.length === 1) controller.abort();
          return 1;
        },
      });
      await predict({ signal: controller.signal }).catch(() => undefined);
      await predict({ deadline: 1e9 }).catch(() => undefined);
      expect(sent.length - 2).toBe(1000);
    });
  });

  describe("leaves alone", () => {
    it("calls with retry: false", async () => {
      const { predict, sent } = setUp({ outcomes: [refused()] });
      await expect(predict({ retry: false })).rejects.toThrow();
      expect(sent).toHaveLength(1);
    });

    it("reloadConfig", async () => {
      const { next, transport } = setUp({ outcomes: [] });
      let count = 0;
      next.reloadConfig = async () => {
        count++;
        throw refused();
      };
      await expect(transport.reloadConfig({ models: [] }, { deadline: 60_000 })).rejects.toThrow("try again later");
      expect(count).toBe(1);
    });
  });

  it("treats all methods but reloadConfig alike", async () => {
    const { next, transport } = setUp({ outcomes: [] });
    const counts: Record<string, number> = {};
    const options = { deadline: 60_000 };
    const spec = { name: "m" };
    const calls: Partial<Record<keyof Transport, () => Promise<unknown>>> = {
      classify: () => transport.classify(spec, [], options),
      regress: () => transport.regress(spec, [], options),
      multiInference: () => transport.multiInference([{ spec, method: "regress" }], [], options),
      getModelMetadata: () => transport.getModelMetadata(spec, options),
      getModelStatus: () => transport.getModelStatus(spec, options),
    };
    for (const [method, call] of Object.entries(calls)) {
      Object.assign(next, {
        [method]: async () => {
          counts[method] = (counts[method] ?? 0) + 1;
          throw refused();
        },
      });
      await expect(call()).rejects.toThrow("try again later");
    }
    expect(counts).toEqual({ classify: 3, regress: 3, multiInference: 3, getModelMetadata: 3, getModelStatus: 3 });
  });
});
