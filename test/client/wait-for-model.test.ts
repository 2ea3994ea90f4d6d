import { describe, expect, it } from "vitest";
import { PredictionClient } from "../../src/client/prediction-client.js";
import { type WaitFailure, waitForModel } from "../../src/client/wait-for-model.js";
import { RpcError, type StatusCode } from "../../src/errors.js";
import type { ModelSpec } from "../../src/model-spec.js";
import type { ModelVersionState, ModelVersionStatus } from "../../src/transport/transport.js";
import { EchoTransport } from "../support/echo-transport.js";

const status = (version: number, state: ModelVersionState, errorCode: StatusCode = "OK", errorMessage = ""): ModelVersionStatus => ({
  version: BigInt(version),
  state,
  errorCode,
  errorMessage,
});

const rpcError = (code: StatusCode, serverMessage = "words") =>
  new RpcError({ code, method: "getModelStatus", endpoint: "here", transport: "test", serverMessage });

type Answer = ModelVersionStatus[] | Error;

/** Waiting in virtual time: answers come in turn, the last one again and again. */
async function wait(answers: readonly Answer[], spec: ModelSpec = { name: "m" }, schedule = { deadline: 10_000, pollIntervalMs: 250 }) {
  const pauses: number[] = [];
  const pollDeadlines: number[] = [];
  let clock = 0;
  const failures: WaitFailure[] = [];
  const outcome = await waitForModel(
    spec,
    schedule,
    {
      now: () => clock,
      sleep: async (delayMs) => {
        pauses.push(delayMs);
        clock += delayMs;
      },
      status: async (deadline) => {
        const answer = answers[Math.min(pollDeadlines.length, answers.length - 1)] ?? [];
        pollDeadlines.push(deadline);
        if (answer instanceof Error) throw answer;
        return answer;
      },
    },
    (failure) => {
      failures.push(failure);
      return new Error(failure.serverMessage);
    },
  ).catch((error: unknown) => error);
  return { outcome, failure: failures[0], pauses, pollDeadlines, clock };
}

describe("waitForModel", () => {
  it("gives back the newest version once it is AVAILABLE", async () => {
    const { outcome, pauses } = await wait([
      [status(3, "LOADING"), status(2, "AVAILABLE")],
      [status(3, "AVAILABLE"), status(2, "UNLOADING")],
    ]);
    expect(outcome).toEqual(status(3, "AVAILABLE"));
    expect(pauses).toEqual([250]);
  });

  it("gives back the wanted version, whatever the others do", async () => {
    const others = [status(9, "END", "INTERNAL", "broken"), status(8, "LOADING")];
    const { outcome } = await wait(
      [
        [...others, status(2, "START")],
        [...others, status(2, "AVAILABLE")],
      ],
      { name: "m", version: 2 },
    );
    expect(outcome).toEqual(status(2, "AVAILABLE"));
  });

  it.each([
    ["a refused connection", rpcError("UNAVAILABLE", "connect ECONNREFUSED")],
    ["an unknown model", rpcError("NOT_FOUND")],
    ["a status that comes too late", rpcError("DEADLINE_EXCEEDED")],
    ["an exhausted thread pool", rpcError("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted")],
    ["no versions", []],
    ["a version that was unloaded", [status(1, "END")]],
  ])("goes on after %s", async (_title, answer) => {
    const { outcome } = await wait([answer, [status(1, "AVAILABLE")]]);
    expect(outcome).toEqual(status(1, "AVAILABLE"));
  });

  it.each(["INVALID_ARGUMENT", "INTERNAL", "UNIMPLEMENTED", "RESOURCE_EXHAUSTED", "PERMISSION_DENIED"] as const)(
    "stops at %s, which waiting does not mend",
    async (code) => {
      const error = rpcError(code);
      expect(await wait([error])).toMatchObject({ outcome: error, pauses: [] });
    },
  );

  it("stops at what is no answer of a server, as the reason of an abort", async () => {
    const reason = new Error("enough");
    expect(await wait([reason])).toMatchObject({ outcome: reason, pauses: [] });
  });

  it("fails with the server's error when the newest version failed, also while an older one answers", async () => {
    const { failure, pauses } = await wait([[status(4, "END", "OUT_OF_RANGE", "Read less bytes than requested"), status(3, "AVAILABLE")]]);
    expect(pauses).toEqual([]);
    expect(failure).toEqual({
      code: "OUT_OF_RANGE",
      serverMessage: "version 4 failed to load: Read less bytes than requested",
      hint: "version 3 is AVAILABLE: pass it as version to wait for that one",
    });
  });

  it("fails when the wanted version failed", async () => {
    const { failure } = await wait([[status(5, "LOADING"), status(4, "END", "NOT_FOUND", "no such file")]], { name: "m", version: 4n });
    expect(failure).toEqual({ code: "NOT_FOUND", serverMessage: "version 4 failed to load: no such file" });
  });

  it.each<[string, Answer, string, string]>([
    [
      "the states",
      [status(3, "LOADING"), status(2, "END", "INTERNAL", "x"), status(1, "END")],
      "version 3 LOADING, version 2 END (INTERNAL)",
      "wait longer",
    ],
    ["that it was unloaded", [status(3, "END")], "version 3 END (unloaded)", "has unloaded it"],
    ["the other versions where the wanted one is unknown", [status(7, "AVAILABLE")], "version 7 AVAILABLE", "does not serve this version"],
    ["that there is none", [], "no versions", "found no version to serve"],
    [
      "an unknown model",
      rpcError("NOT_FOUND", "Could not find any versions of model m"),
      "NOT_FOUND: Could not find any versions of model m",
      "--file_system_poll_wait_seconds",
    ],
    ["the refusal", rpcError("UNAVAILABLE", "connect ECONNREFUSED"), "UNAVAILABLE: connect ECONNREFUSED", "opens its ports only after"],
    ["that nothing came", rpcError("DEADLINE_EXCEEDED"), "no answer to a status call", "opens its ports only after"],
  ])("says at the time-out what it last saw: %s", async (_title, answer, seen, hint) => {
    const { failure, clock } = await wait([answer], seen.includes("version 7") ? { name: "m", version: 3 } : { name: "m" });
    expect(failure?.code).toBe("DEADLINE_EXCEEDED");
    expect(failure?.serverMessage).toBe(`time ran out while the model was not available; last seen: ${seen}`);
    expect(failure?.hint).toContain(hint);
    expect(clock).toBeGreaterThan(9900);
    expect(clock).toBeLessThanOrEqual(10_000);
  });

  it("keeps what it saw before the look that came too late", async () => {
    const { failure } = await wait([[status(3, "LOADING")], rpcError("DEADLINE_EXCEEDED")]);
    expect(failure?.serverMessage).toContain("last seen: version 3 LOADING");
  });

  it("looks less and less often, at least every five seconds, and again shortly before the end", async () => {
    const { pauses, pollDeadlines } = await wait([[status(1, "LOADING")]], { name: "m" }, { deadline: 60_000, pollIntervalMs: 1000 });
    expect(pauses.slice(0, 6)).toEqual([1000, 1500, 2250, 3375, 5000, 5000]);
    expect(Math.max(...pauses)).toBe(5000);
    expect(pauses.at(-1)).toBeLessThan(50);
    expect(pollDeadlines.slice(0, 2)).toEqual([30_000, 31_000]);
    expect(Math.max(...pollDeadlines)).toBe(60_000);
  });

  it("keeps an interval that is longer than five seconds", async () => {
    const { pauses } = await wait([[status(1, "LOADING")]], { name: "m" }, { deadline: 100_000, pollIntervalMs: 8000 });
    expect(pauses.slice(0, 3)).toEqual([8000, 8000, 8000]);
  });
});

describe("PredictionClient.waitForModel", () => {
  it("asks the transport until the model is there, with the call's metadata", async () => {
    const transport = new EchoTransport();
    transport.statuses = [[], [status(1, "LOADING")], [status(1, "AVAILABLE")]];
    const client = new PredictionClient(transport);
    const options = { pollIntervalMs: 1, metadata: { "x-a": "1" } };
    expect(await client.waitForModel({ name: "m", version: 1 }, options)).toEqual(status(1, "AVAILABLE"));
    expect(transport.statusCalls.map(({ metadata }) => metadata)).toEqual([{ "x-a": "1" }, { "x-a": "1" }, { "x-a": "1" }]);
  });

  it("looks at the status patiently, whatever the client's time-out is", async () => {
    const transport = new EchoTransport();
    transport.statuses = [[status(1, "AVAILABLE")]];
    await new PredictionClient(transport, { timeoutMs: 100 }).waitForModel("m");
    expect((transport.statusCalls[0]?.deadline ?? 0) - performance.now()).toBeGreaterThan(20_000);
  });

  it("says what it saw also over a transport of the caller's own that never ends a look", async () => {
    const transport = new EchoTransport();
    transport.getModelStatus = () => new Promise(() => undefined);
    const waiting = new PredictionClient(transport).waitForModel("m", { timeoutMs: 60 });
    await expect(waiting).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
      message: "DEADLINE_EXCEEDED: waitForModel m: time ran out while the model was not available; last seen: no answer to a status call",
    });
  });

  it("fails as a call does: with code, model and what was seen", async () => {
    const transport = new EchoTransport();
    const client = new PredictionClient(transport);
    const waiting = client.waitForModel("m", { timeoutMs: 60, pollIntervalMs: 5 });
    await expect(waiting).rejects.toMatchObject({
      name: "RpcError",
      code: "DEADLINE_EXCEEDED",
      modelSpec: { name: "m" },
      message: "DEADLINE_EXCEEDED: waitForModel m: time ran out while the model was not available; last seen: no versions",
    });
  });

  it("ends with the reason of its signal while it sleeps, and leaves no timer", async () => {
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const before = timers();
    const transport = new EchoTransport();
    const controller = new AbortController();
    const waiting = new PredictionClient(transport).waitForModel("m", { signal: controller.signal, pollIntervalMs: 60_000 });
    await expect.poll(() => transport.statusCalls.length).toBe(1);
    controller.abort("enough");
    await expect(waiting).rejects.toBe("enough");
    expect(timers()).toBe(before);
  });

  it("ends when the client is closed by force", async () => {
    const client = new PredictionClient(new EchoTransport());
    const refused = expect(client.waitForModel("m")).rejects.toMatchObject({ code: "CANCELLED" });
    await Promise.all([refused, client.close({ force: true })]);
  });

  it.each([
    [{ name: "m", versionLabel: "stable" }, {}, TypeError, "a status says nothing of labels"],
    ["m", { pollIntervalMs: 0 }, RangeError, "pollIntervalMs: expected a positive"],
    ["m", { pollIntervalMs: "1" }, TypeError, "pollIntervalMs: expected a number"],
    ["m", { timeoutMs: -1 }, RangeError, "timeoutMs"],
  ])("refuses %o with %o", async (model, options, error, message) => {
    const transport = new EchoTransport();
    const call = () => new PredictionClient(transport).waitForModel(model as never, options as never);
    await expect(call()).rejects.toThrow(error);
    await expect(call()).rejects.toThrow(message);
    expect(transport.statusCalls).toEqual([]);
  });
});
