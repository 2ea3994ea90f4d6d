import { Client, credentials } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { GetModelStatusRequest } from "../../gen/tensorflow_serving/apis/get_model_status.js";
import { PredictRequest } from "../../gen/tensorflow_serving/apis/predict.js";
import type { PredictionClient } from "../../src/client/prediction-client.js";
import { modelSpecToProto, tensorToProto } from "../../src/messages.js";
import { FaultList } from "../../src/server/faults.js";
import type { Fault, ServerRequest } from "../../src/server/index.js";
import { tensor } from "../../src/tensor/tensor.js";
import { fronts, startBoth } from "./both-fronts.js";
import { rawGrpc } from "./raw-grpc.js";
import { rawHttp } from "./raw-http.js";

const model = "half_plus_two";
const status = (client: PredictionClient) => client.getModelStatus(model);
const predict = async (client: PredictionClient, name = model) => (await client.predict(name, [1])).outputs;
const answered = expect.objectContaining({ version: 1n, state: "AVAILABLE" });

let both: Awaited<ReturnType<typeof startBoth>>;
beforeEach(async () => {
  both = await startBoth();
});
afterEach(() => both.close());

describe.each(fronts)("faults over %s", (_title, front) => {
  it("answers with an error instead, without running the model", async () => {
    const { server, held } = both;
    server.faults.add({ match: { method: "predict" }, code: "RESOURCE_EXHAUSTED", message: "no room" });
    await expect(predict(both.client(front), "held")).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED", serverMessage: "no room" });
    expect(held.runs()).toBe(0);
  });

  it.each(["UNAVAILABLE", "NOT_FOUND", "UNIMPLEMENTED", "DEADLINE_EXCEEDED"] as const)("says that %s was injected", async (code) => {
    both.server.faults.add({ code });
    await expect(status(both.client(front))).rejects.toMatchObject({ code, serverMessage: expect.stringContaining("fault injected") });
  });

  it("closes the connection, and takes the next one", async () => {
    const { server } = both;
    const client = both.client(front);
    const fault = server.faults.add({ match: { method: "predict" }, closeConnection: true });
    await expect(predict(client)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    fault.remove();
    expect(await predict(client)).toHaveProperty("y");
  });

  it.each(["getModelStatus", "predict"] as const)("sends an answer to %s that no decoder takes", async (method) => {
    const fault = both.server.faults.add({ match: { method }, corrupt: true });
    const call = method === "predict" ? predict(both.client(front)) : status(both.client(front));
    await expect(call).rejects.toMatchObject({ name: "RpcError", code: "INTERNAL" });
    expect(fault.hits).toBe(1);
  });

  it("leaves the error of a call that the server refuses as it is", async () => {
    both.server.faults.add({ corrupt: true });
    await expect(both.client(front).getModelStatus("nobody")).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("waits before it answers, and before it fails", async () => {
    const { server } = both;
    const client = both.client(front);
    const from = performance.now();
    server.faults.add({ delayMs: 60, times: 1 });
    expect(await status(client)).toContainEqual(answered);
    expect(performance.now() - from).toBeGreaterThan(55);
    server.faults.add({ delayMs: 60, code: "ABORTED" });
    await expect(status(client)).rejects.toMatchObject({ code: "ABORTED" });
    expect(performance.now() - from).toBeGreaterThan(110);
  });

  it("ends a delay when the server closes", async () => {
    const { server } = both;
    server.faults.add({ delayMs: 3_600_000 });
    const call = status(both.client(front));
    await expect.poll(() => server.requests.length).toBe(1);
    const from = performance.now();
    await Promise.all([server.close(), expect(call).resolves.toContainEqual(answered)]);
    expect(performance.now() - from).toBeLessThan(1_000);
  });

  it("forgets a delayed call whose client gives up", async () => {
    const { server, held } = both;
    const client = both.client(front);
    server.faults.add({ match: { method: "predict" }, delayMs: 300 });
    await expect(client.predict("held", [1], { timeoutMs: 100 })).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    // The delay of this call ends after that of the other would have.
    await predict(client);
    expect(held.runs()).toBe(0);
  });

  it("strikes as often as it may, then is gone", async () => {
    const client = both.client(front);
    const fault = both.server.faults.add({ code: "UNAVAILABLE", times: 2 });
    for (let call = 0; call < 2; call++) await expect(status(client)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(await status(client)).toContainEqual(answered);
    expect(fault.hits).toBe(2);
  });

  it("answers INTERNAL where a match function throws or answers with a Promise", async () => {
    const { server } = both;
    const broken = server.faults.add({
      match: () => {
        throw new Error("no idea");
      },
      code: "ABORTED",
    });
    await expect(status(both.client(front))).rejects.toMatchObject({ code: "INTERNAL", serverMessage: "no idea" });
    broken.remove();
    server.faults.add({ match: (async () => false) as never, code: "ABORTED" });
    await expect(status(both.client(front))).rejects.toMatchObject({ code: "INTERNAL", serverMessage: /true or false, got/ });
  });

  it("is recorded like any other call", async () => {
    both.server.faults.add({ code: "ABORTED" });
    await expect(status(both.client(front))).rejects.toThrow("ABORTED");
    expect(both.server.requests).toMatchObject([{ transport: front, method: "getModelStatus", model }]);
  });
});

describe("a closed connection", () => {
  it("takes all calls on it along, and leaves other connections open", async () => {
    const { server, held } = both;
    const bytes = PredictRequest.encode(
      PredictRequest.create({ modelSpec: modelSpecToProto({ name: "held" }), inputs: { x: tensorToProto(tensor("float32", [1], [1])) } }),
    ).finish();
    // Clients of one process share their connections otherwise.
    const [own, other] = [0, 1].map(
      () => new Client(server.grpcTarget, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 }),
    ) as [Client, Client];
    const calls = [own, own, other].map((client) => rawGrpc(client, "/tensorflow.serving.PredictionService/Predict", bytes));
    await expect.poll(() => held.runs()).toBe(3);
    server.faults.add({ closeConnection: true });
    expect((await rawGrpc(own, "/tensorflow.serving.ModelService/GetModelStatus", new Uint8Array())).code).toBe("UNAVAILABLE");
    held.release();
    expect((await Promise.all(calls)).map(({ code }) => code)).toEqual(["UNAVAILABLE", "UNAVAILABLE", "OK"]);
    own.close();
    other.close();
  });

  it("leaves the others open over REST", async () => {
    const { server, held } = both;
    const client = both.client("rest");
    const call = predict(client, "held");
    await expect.poll(() => held.runs()).toBe(1);
    server.faults.add({ closeConnection: true });
    await expect(status(client)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    held.release();
    expect(await call).toHaveProperty("y");
  });
});

describe("a corrupt answer", () => {
  it("has the size of the good one over gRPC", async () => {
    const { server } = both;
    const client = new Client(server.grpcTarget, credentials.createInsecure());
    const ask = () =>
      rawGrpc(
        client,
        "/tensorflow.serving.ModelService/GetModelStatus",
        GetModelStatusRequest.encode(GetModelStatusRequest.create({ modelSpec: { name: model, signatureName: "" } })).finish(),
      );
    const { bytes: good } = await ask();
    server.faults.add({ corrupt: true });
    expect(await ask()).toEqual({ code: "OK", message: "", bytes: Buffer.alloc(good?.length ?? 0, 0xff) });
    client.close();
  });

  it("has status, headers and size of the good one over REST", async () => {
    const { server } = both;
    const ask = () => rawHttp(server.restPort, Buffer.from(`GET /v1/models/${model} HTTP/1.1\r\n\r\n`));
    const good = await ask();
    server.faults.add({ corrupt: true });
    const { status: code, reason, headers, body } = await ask();
    const withoutDate = ([name]: [string, string]) => name !== "date";
    expect({ code, reason }).toEqual({ code: 200, reason: "OK" });
    expect([...headers].filter(withoutDate)).toEqual([...good.headers].filter(withoutDate));
    expect(body).toEqual(Buffer.alloc(good.body.length, 0xff));
  });
});

describe("an injected error over REST", () => {
  it.each([
    ["UNAVAILABLE", 503],
    ["RESOURCE_EXHAUSTED", 429],
    ["DATA_LOSS", 500],
  ] as const)("has the HTTP status of %s and a JSON body", async (code, expected) => {
    both.server.faults.add({ code, message: 'so "it" is' });
    const answer = await rawHttp(both.server.restPort, Buffer.from("POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: 0\r\n\r\n"));
    expect(answer.status).toBe(expected);
    expect(JSON.parse(answer.body.toString())).toEqual({ error: 'so "it" is' });
  });
});

const request = (own: Partial<ServerRequest> = {}): ServerRequest => ({
  transport: "grpc",
  method: "predict",
  model,
  metadata: {},
  ...own,
});

describe("FaultList", () => {
  it("strikes every call without a match", () => {
    const faults = new FaultList();
    const { hits } = faults.add({ code: "ABORTED" });
    expect(hits).toBe(0);
    expect(faults.strike(request())).toMatchObject({ code: "ABORTED" });
    expect(faults.strike(request({ transport: "rest", method: "reloadConfig", model: undefined }))).toMatchObject({ code: "ABORTED" });
  });

  it.each<[string, Fault["match"], boolean]>([
    ["a method", { method: "predict" }, true],
    ["another method", { method: "classify" }, false],
    ["a transport", { transport: "grpc" }, true],
    ["another transport", { transport: "rest" }, false],
    ["a model", { model }, true],
    ["another model", { model: "m" }, false],
    ["all three", { transport: "grpc", method: "predict", model }, true],
    ["one of three that differs", { transport: "grpc", method: "predict", model: "m" }, false],
    ["a function that says yes", ({ metadata }) => metadata["x-try"] === undefined, true],
    ["a function that says no", ({ metadata }) => metadata["x-try"] === "2", false],
  ])("goes by %s", (_title, match, expected) => {
    const faults = new FaultList();
    faults.add({ match, code: "ABORTED" });
    expect(faults.strike(request()) !== undefined).toBe(expected);
  });

  it("takes the first added of several that strike", () => {
    const faults = new FaultList();
    const first = faults.add({ match: { model: "m" }, code: "ABORTED" });
    const second = faults.add({ code: "UNAVAILABLE", times: 1 });
    const third = faults.add({ code: "INTERNAL" });
    expect([faults.strike(request())?.code, faults.strike(request())?.code]).toEqual(["UNAVAILABLE", "INTERNAL"]);
    expect([first.hits, second.hits, third.hits]).toEqual([0, 1, 1]);
  });

  it("never strikes with probability 0 and always with 1", () => {
    const faults = new FaultList();
    const never = faults.add({ code: "ABORTED", probability: 0 });
    const always = faults.add({ code: "ABORTED", probability: 1 });
    for (let call = 0; call < 100; call++) faults.strike(request());
    expect([never.hits, always.hits]).toEqual([0, 100]);
  });

  it("strikes where a draw is below the probability, and counts only those towards times", () => {
    const draws = [0.9, 0.3, 0.29, 0.5, 0.1, 0];
    const faults = new FaultList(() => draws.shift() ?? 1);
    const fault = faults.add({ code: "ABORTED", probability: 0.3, times: 2 });
    const struck = Array.from({ length: 6 }, () => faults.strike(request()) !== undefined);
    expect(struck).toEqual([false, false, true, false, true, false]);
    expect(fault.hits).toBe(2);
  });

  it("takes out one fault, and all", () => {
    const faults = new FaultList();
    const first = faults.add({ code: "ABORTED" });
    faults.add({ code: "INTERNAL" });
    first.remove();
    first.remove();
    expect(faults.strike(request())?.code).toBe("INTERNAL");
    faults.clear();
    expect(faults.strike(request())).toBeUndefined();
    expect(first.hits).toBe(0);
  });

  it("keeps a fault as it was when it was added", () => {
    const faults = new FaultList();
    const fault = { code: "ABORTED" as Fault["code"] };
    faults.add(fault);
    fault.code = "INTERNAL";
    expect(faults.strike(request())?.code).toBe("ABORTED");
  });

  describe("rejects", () => {
    it.each<[string, unknown, ErrorConstructor, string]>([
      ["no object", 5, TypeError, "fault: expected a plain object, got 5"],
      ["nothing to do", {}, TypeError, "fault: expected one of code, closeConnection and corrupt, or delayMs, got none"],
      ["only a match", { match: { model } }, TypeError, "got none"],
      ["an unknown name", { delay: 5 }, TypeError, "delay: unknown option, expected one of closeConnection, code"],
      ["code and corrupt", { code: "ABORTED", corrupt: true }, TypeError, "fault: code and corrupt exclude each other"],
      [
        "all three",
        { code: "ABORTED", corrupt: true, closeConnection: true },
        TypeError,
        "code and closeConnection and corrupt exclude each other",
      ],
      ["an unknown code", { code: "BROKEN" }, TypeError, "code: expected one of CANCELLED, "],
      ["OK as an error", { code: "OK" }, TypeError, 'got "OK"'],
      ["a message without a code", { delayMs: 5, message: "m" }, TypeError, "message: goes only with code"],
      ["a message that is no text", { code: "ABORTED", message: 5 }, TypeError, "message: expected a string, got 5"],
      ["closeConnection: false", { closeConnection: false }, TypeError, "closeConnection: expected true, got false"],
      ["corrupt: 1", { corrupt: 1 }, TypeError, "corrupt: expected true, got 1"],
      ["a negative delay", { delayMs: -1 }, RangeError, "delayMs: expected a number of milliseconds from 0 to 2147483647, got -1"],
      ["a delay beyond timers", { delayMs: 2 ** 31 }, RangeError, "got 2147483648"],
      ["a delay that is no number", { delayMs: "5" }, TypeError, 'got "5"'],
      ["no times", { delayMs: 5, times: 0 }, RangeError, "times: expected a whole number from 1, got 0"],
      ["half a time", { delayMs: 5, times: 1.5 }, RangeError, "got 1.5"],
      ["a probability above 1", { delayMs: 5, probability: 5 }, RangeError, "probability: expected a number from 0 to 1, got 5"],
      ["a probability of NaN", { delayMs: 5, probability: Number.NaN }, RangeError, "got NaN"],
      ["a match that is a name", { delayMs: 5, match: model }, TypeError, "match: expected a plain object"],
      ["an unknown name in match", { delayMs: 5, match: { version: 1 } }, TypeError, "version: unknown option, expected one of method"],
      ["an unknown method", { delayMs: 5, match: { method: "Predict" } }, TypeError, "match.method: expected one of predict, "],
      ["an unknown transport", { delayMs: 5, match: { transport: "http" } }, TypeError, "match.transport: expected one of grpc, rest"],
      ["a model that is no name", { delayMs: 5, match: { model: 5 } }, TypeError, "match.model: expected a string, got 5"],
    ])("%s", (_title, fault, type, message) => {
      const add = () => both.server.faults.add(fault as Fault);
      expect(add).toThrow(type);
      expect(add).toThrow(message);
    });
  });
});
