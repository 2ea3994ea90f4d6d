import { describe, expect, it } from "vitest";
import { defineModel } from "../../src/client/model-definition.js";
import { PredictionClient } from "../../src/client/prediction-client.js";
import { RpcError } from "../../src/errors.js";
import { tensor } from "../../src/tensor/tensor.js";
import type { CallMetadata } from "../../src/transport/transport.js";
import { EchoTransport, vectorSignature } from "../support/echo-transport.js";

const x = tensor("float32", [1], [1]);

describe("PredictionClient", () => {
  it("sends tensors without a look-up where the transport needs no signature", async () => {
    const transport = new EchoTransport();
    await new PredictionClient(transport).predict("m", { x });
    expect(transport.lookUps).toBe(0);
    expect(transport.predicts[0]?.inputs.x).toBe(x);
  });

  it("fetches and passes the signature, once, where the transport needs it", async () => {
    const transport = new EchoTransport(true);
    const client = new PredictionClient(transport);
    await Promise.all([client.predict("m", { x }), client.predict("m", { x })]);
    await client.predict("m", { x });
    expect(transport.lookUps).toBe(1);
    expect(transport.predicts[2]?.options.signature).toBe(transport.signatures.serving_default);
  });

  it.each([[{ x: [1, 2] }], [[1, 2]], [new Float32Array([1, 2])], [tensor("float32", [2], [1, 2])]])(
    "takes %o as inputs",
    async (inputs) => {
      const result = await new PredictionClient(new EchoTransport()).predict("m", inputs);
      expect(result.outputs.x).toMatchObject({ dtype: "float32", shape: [2], values: new Float32Array([1, 2]) });
    },
  );

  it("refuses inputs that do not fit before sending, unless check is off", async () => {
    const transport = new EchoTransport(true);
    const wrong = { x: tensor("int32", [1, 1], [1]) };
    await expect(new PredictionClient(transport).predict("m", wrong)).rejects.toMatchObject({
      name: "SignatureError",
      message: 'INVALID_ARGUMENT: predict m: input "x": expected float32 [?], got int32 [1, 1]',
    });
    expect(transport.predicts).toHaveLength(0);
    await new PredictionClient(transport, { check: false }).predict("m", wrong);
    expect(transport.predicts).toHaveLength(1);
  });

  it("looks again before refusing what an older signature does not take", async () => {
    const transport = new EchoTransport();
    const client = new PredictionClient(transport);
    await client.predict("m", { x: [1] });
    transport.signatures = { serving_default: vectorSignature("int32") };
    transport.version = 2n;
    const result = await client.predict("m", { x: tensor("int32", [1], [1]) });
    expect(result.outputs.x?.dtype).toBe("int32");
    expect(transport.lookUps).toBe(2);
  });

  it("forgets the signature when the answering version changes", async () => {
    const transport = new EchoTransport();
    const client = new PredictionClient(transport);
    await client.predict("m", [1]);
    transport.version = 2n;
    await client.predict("m", [1]);
    transport.signatures = { serving_default: vectorSignature("int32") };
    expect((await client.predict("m", [1])).outputs.x?.dtype).toBe("int32");
    expect(transport.lookUps).toBe(2);
  });

  it("lets the server answer for a signature that the model does not have, after looking twice", async () => {
    const transport = new EchoTransport(true);
    const client = new PredictionClient(transport);
    await client.predict("m", { x });
    transport.refusal = "FAILED_PRECONDITION";
    const call = client.predict({ name: "m", signatureName: "other" }, [1]);
    await expect(call).rejects.toMatchObject({
      name: "RpcError",
      code: "FAILED_PRECONDITION",
      hint: 'the model has no signature "other", only "serving_default"',
    });
    expect(transport.predicts[1]?.options.signature).toBeUndefined();
    expect(transport.lookUps).toBe(2);
  });

  it("adds what differs from the signature to the server's error", async () => {
    const transport = new EchoTransport();
    transport.refusal = "INVALID_ARGUMENT";
    const call = new PredictionClient(transport).predict("m", { z: x }, { outputFilter: ["q"] });
    await expect(call).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      serverMessage: "refused",
      endpoint: "here",
      cause: "why",
      message: "INVALID_ARGUMENT: predict m: refused",
      hint:
        'input "z" is not in the signature, whose inputs are "x"; input "x" is missing: expected float32 [?]; the signature\'s inputs are "x"; ' +
        'output "q" is not in the signature, whose outputs are "y"',
    });
  });

  it("names the call, not its look-up, in the errors of a look-up", async () => {
    const transport = new EchoTransport();
    const refused = new RpcError({
      code: "NOT_FOUND",
      method: "getModelMetadata",
      modelSpec: { name: "m" },
      endpoint: "here",
      transport: "echo",
      serverMessage: "Servable not found",
      hint: "look",
      cause: "why",
    });
    transport.getModelMetadata = () => Promise.reject(refused);
    await expect(new PredictionClient(transport).predict({ name: "m", signatureName: "s" }, [1])).rejects.toMatchObject({
      message: "NOT_FOUND: predict m: Servable not found",
      modelSpec: { name: "m", signatureName: "s" },
      endpoint: "here",
      transport: "echo",
      hint: "look",
      cause: "why",
    });
  });

  it("does not take one caller's refused credentials for another's in a shared look-up", async () => {
    const transport = new EchoTransport();
    const tokens: unknown[] = [];
    const lookUp = transport.getModelMetadata.bind(transport);
    transport.getModelMetadata = async (spec, options) => {
      const { token } = options.metadata as { token: string };
      tokens.push(token);
      if (token === "good") return lookUp(spec, options);
      const about = { method: "getModelMetadata", modelSpec: spec, endpoint: "here", transport: "echo" };
      throw new RpcError({ ...about, code: "PERMISSION_DENIED", serverMessage: "who are you?" });
    };
    const client = new PredictionClient(transport);
    const outcomes = await Promise.allSettled(["bad", "good", "good"].map((token) => client.predict("m", [1], { metadata: { token } })));
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "fulfilled", "fulfilled"]);
    expect(tokens.slice(0, 2)).toEqual(["bad", "good"]);
  });

  it("leaves other errors of the transport as they are", async () => {
    const transport = new EchoTransport();
    transport.refusal = "UNAVAILABLE";
    await expect(new PredictionClient(transport).predict("m", { x })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(transport.lookUps).toBe(0);
  });

  it("passes options on, the call's metadata over the client's", async () => {
    const transport = new EchoTransport();
    const client = new PredictionClient(transport, { metadata: { "X-Tenant": "a", "x-other": "b" }, restFormat: "row", timeoutMs: 5000 });
    const before = performance.now();
    const signal = new AbortController().signal;
    await client.predict("m", { x }, { metadata: { "x-tenant": "c" }, outputFilter: ["y"], timeoutMs: 1000, signal });
    const options = transport.predicts[0]?.options;
    expect(options).toMatchObject({ metadata: { "x-other": "b", "x-tenant": "c" }, outputFilter: ["y"], restFormat: "row", signal });
    expect(options?.deadline).toBeGreaterThanOrEqual(before + 1000);
    expect(options?.deadline).toBeLessThan(before + 5000);
  });

  it("hands a metadata function on, to be asked per attempt", async () => {
    const transport = new EchoTransport();
    const client = new PredictionClient(transport, { metadata: async () => ({ Authorization: "t", other: "o" }) });
    await client.predict("m", { x }, { metadata: { authorization: "u" } });
    const metadata = transport.predicts[0]?.options.metadata as () => Promise<CallMetadata>;
    expect(await metadata()).toEqual({ authorization: "u", other: "o" });
  });

  it("stops waiting for the signature when the caller aborts or time runs out", async () => {
    const transport = new EchoTransport(true);
    transport.getModelMetadata = () => new Promise(() => undefined);
    const client = new PredictionClient(transport);
    const abort = new AbortController();
    const reason = new Error("enough");
    const call = client.predict("m", { x }, { signal: abort.signal });
    abort.abort(reason);
    await expect(call).rejects.toBe(reason);
    await expect(client.predict("m", { x }, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await expect(client.predict("m", { x }, { timeoutMs: 5 })).rejects.toMatchObject({ name: "RpcError", code: "DEADLINE_EXCEEDED" });
  });

  describe("over a transport that never settles", () => {
    const stuck = () => {
      const transport = new EchoTransport();
      transport.gate = new Promise(() => {});
      return transport;
    };
    const inputs = { x: tensor("float32", [1], [1]) };

    it("ends the call soon after its deadline, and can be closed then", async () => {
      const client = new PredictionClient(stuck());
      await expect(client.predict("m", inputs, { timeoutMs: 20 })).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
      await client.close();
    });

    it("ends the call with the reason of its signal", async () => {
      const reason = new Error("enough");
      const client = new PredictionClient(stuck());
      await expect(client.predict("m", inputs, { signal: AbortSignal.timeout(20) })).rejects.toMatchObject({ name: "TimeoutError" });
      const controller = new AbortController();
      const call = client.predict("m", inputs, { signal: controller.signal });
      controller.abort(reason);
      await expect(call).rejects.toBe(reason);
    });

    it("aborts the transport's call when closed by force", async () => {
      const transport = stuck();
      const client = new PredictionClient(transport);
      const call = client.predict("m", inputs);
      await expect.poll(() => transport.predicts.length).toBe(1);
      await Promise.all([expect(call).rejects.toMatchObject({ code: "CANCELLED" }), client.close({ force: true })]);
      expect(transport.predicts[0]?.options.signal?.aborted).toBe(true);
    });
  });

  it("asks a metadata function that answers at once, and refuses what it may not give", async () => {
    const transport = new EchoTransport();
    const given: Record<string, unknown> = { "x-token": "t" };
    const client = new PredictionClient(transport, { metadata: (() => given) as unknown as () => Promise<CallMetadata> });
    await client.predict("m", { x: tensor("float32", [1], [1]) });
    const metadata = transport.predicts[0]?.options.metadata;
    expect(typeof metadata === "function" && (await metadata())).toEqual({ "x-token": "t" });
    given["x-count"] = 1;
    await expect((metadata as () => Promise<CallMetadata>)()).rejects.toThrow(
      'metadata "x-count": expected a string or an array of strings',
    );
    await client.close();
  });

  it("says what a metadata function should have given", async () => {
    const transport = new EchoTransport();
    const client = new PredictionClient(transport, { metadata: (async () => undefined) as unknown as () => Promise<CallMetadata> });
    await client.predict("m", { x });
    const metadata = transport.predicts[0]?.options.metadata as () => Promise<CallMetadata>;
    await expect(metadata()).rejects.toThrow("metadata: expected the function to give a record of values by key, got undefined");
  });

  describe("model", () => {
    it("checks tensors too before they are sent", async () => {
      const transport = new EchoTransport();
      const model = new PredictionClient(transport).model({ name: "m", version: 1 });
      await expect(model.predict({ x: tensor("int32", [1], [1]) })).rejects.toMatchObject({ name: "SignatureError" });
      await model.predict({ x });
      expect([transport.lookUps, transport.predicts.length]).toEqual([1, 1]);
    });

    it("sends tensors as they are where check is off, for the model or the client", async () => {
      const transport = new EchoTransport();
      const wrong = { x: tensor("int32", [1], [1]) };
      await new PredictionClient(transport).model("m", { check: false }).predict(wrong);
      await new PredictionClient(transport, { check: false }).model("m").predict(wrong);
      expect([transport.lookUps, transport.predicts.length]).toEqual([0, 2]);
    });

    it("passes every other call on", async () => {
      const transport = new EchoTransport();
      transport.statuses = [[], [{ version: 1n, state: "AVAILABLE", errorCode: "OK", errorMessage: "" }]];
      const model = new PredictionClient(transport).model("m", { signatureName: "s" });
      await model.classify([{ x: 1 }]);
      await model.regress([{ x: 1 }], { signatureName: "r" });
      expect(transport.inferences.map(({ about }) => about)).toEqual([
        { name: "m", signatureName: "s" },
        { name: "m", signatureName: "r" },
      ]);
      expect(await model.getModelStatus()).toEqual([]);
      expect(await model.waitForModel()).toMatchObject({ state: "AVAILABLE" });
      expect(Object.keys((await model.getModelMetadata()).signatures)).toEqual(["serving_default"]);
    });

    it("takes a definition, whose types its calls have", async () => {
      const definition = defineModel({
        name: "m",
        signatures: {
          serving_default: {
            inputs: { x: { dtype: "float32", shape: [null] } },
            outputs: { x: { dtype: "float32", shape: [null] } },
          },
        },
      });
      const transport = new EchoTransport();
      transport.signatures = { serving_default: { methodName: "tensorflow/serving/predict", ...definition.signatures.serving_default } };
      const { outputs } = await new PredictionClient(transport).model(definition).predict({ x: [1.5] });
      const values: Float32Array = outputs.x.values;
      expect(values).toEqual(Float32Array.of(1.5));
    });
  });

  describe("close", () => {
    it("refuses new calls, waits for running ones, then closes the transport once", async () => {
      const transport = new EchoTransport();
      let open: () => void = () => undefined;
      transport.gate = new Promise((resolve) => {
        open = resolve;
      });
      const client = new PredictionClient(transport);
      const running = client.predict("m", { x });
      const closing = client.close();
      await expect(client.predict("m", { x })).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
      expect(transport.closed).toBe(0);
      open();
      await running;
      await Promise.all([closing, client.close(), client[Symbol.asyncDispose]()]);
      expect(transport.closed).toBe(1);
    });

    it("ends running calls by force, also after a close without", async () => {
      const transport = new EchoTransport();
      transport.gate = new Promise(() => undefined);
      const client = new PredictionClient(transport);
      const running = client.predict("m", { x });
      const refused = expect(running).rejects.toMatchObject({ code: "CANCELLED" });
      const closing = client.close();
      await client.close({ force: true });
      await Promise.all([refused, closing]);
      expect(transport.closed).toBe(1);
    });

    it("says to each call which it was that was ended by force", async () => {
      const transport = new EchoTransport();
      transport.gate = new Promise(() => undefined);
      transport.getModelStatus = () => new Promise(() => undefined);
      const client = new PredictionClient(transport);
      const { signal } = new AbortController();
      const calls = [client.predict("m", { x }), client.predict({ name: "n", version: 2 }, { x }, { signal }), client.getModelStatus("o")];
      const outcomes = Promise.allSettled(calls);
      await client.close({ force: true });
      const errors = (await outcomes).map((outcome) => (outcome.status === "rejected" ? outcome.reason : outcome));
      expect(errors.map(({ name, code, message }) => [name, code, message])).toEqual(
        ["predict m", "predict n:2", "getModelStatus o"].map((call) => [
          "ServingError",
          "CANCELLED",
          `CANCELLED: ${call}: the client was closed by force`,
        ]),
      );
    });

    it("works on a client that was never used", async () => {
      await new PredictionClient("localhost", 8500).close();
      await new PredictionClient("http://localhost").close({ force: true });
    });
  });

  describe("rejects", () => {
    it.each([
      ["a Map as inputs", new Map([["x", 1]])],
      ["a Date as inputs", new Date(0)],
    ])("%s", async (_title, inputs) => {
      const client = new PredictionClient(new EchoTransport());
      await expect(client.predict("m", inputs as unknown as number)).rejects.toThrow(/^inputs: expected a plain object/);
    });

    it.each([
      ["a number", { "x-a": 1 }, "a string or an array of strings"],
      ["bytes under a text key", { "x-a": new Uint8Array(1) }, "a string or an array of strings"],
      ["text under a binary key", { "x-bin": "a" }, "a Uint8Array, as the key ends in -bin"],
    ])("metadata with %s", async (_title, metadata, expected) => {
      expect(() => new PredictionClient("host:1", { metadata: metadata as unknown as CallMetadata })).toThrow(expected);
      const client = new PredictionClient(new EchoTransport());
      await expect(client.predict("m", 1, { metadata: metadata as unknown as CallMetadata })).rejects.toThrow(expected);
    });

    const make = PredictionClient as unknown as new (...args: unknown[]) => PredictionClient;
    it.each([
      [["localhost", "8500"], TypeError, /port \(number\)/],
      [["http://localhost", 8501], TypeError, /without a scheme/],
      [["localhost", 0], RangeError, /from 1 to 65535/],
      [["localhost:8500", { transport: "rest" }], TypeError, /only with \(host, port\)/],
      [["localhost", 8500, { transport: "http" }], TypeError, /"grpc" or "rest"/],
      [[[]], TypeError, /expected at least one, got an empty array/],
      [[["a:8500", 1]], TypeError, /targets\[1\]: expected a string, got 1/],
      [[["a:8500", "http://b"]], TypeError, /one transport, got a:8500 over grpc and b:8501 over rest/],
      [[["a:8500", "dns:///b"]], TypeError, /pass it alone/],
      [[["a", "b"], 8500], TypeError, /a port goes only with a host name/],
      [["grpc://host", { tls: true }], TypeError, /goes with "grpcs:/],
      [[{}], TypeError, /target string, an array of them or a Transport/],
      [[undefined], TypeError, /got undefined/],
      [[null], TypeError, /got null/],
      [["localhost", 8500, { timeoutMs: 0 }], RangeError, /timeoutMs/],
      [["localhost", 8500, { timeoutMs: Number.POSITIVE_INFINITY }], RangeError, /timeoutMs/],
      [["localhost", 8500, { timeoutMs: "1" }], TypeError, /timeoutMs/],
      [["localhost", 8500, { restFormat: "rows" }], TypeError, /"column" or "row", got "rows"/],
      [["localhost", 8500, { restGzipMinBytes: "1" }], TypeError, /restGzipMinBytes: expected a number, got "1"/],
      [["localhost", 8500, { restGzipMinBytes: -1 }], RangeError, /restGzipMinBytes/],
      [["localhost", 8500, { restGzipMinBytes: Number.NaN }], RangeError, /restGzipMinBytes/],
      [["localhost", 8500, { check: 1 }], TypeError, /check/],
      [["localhost", 8500, { metadata: "token" }], TypeError, /metadata/],
    ] as const)("new PredictionClient(...%j)", (args, error, message) => {
      expect(() => new make(...args)).toThrow(error);
      expect(() => new make(...args)).toThrow(message);
    });

    it.each([
      ["", { x }, {}, TypeError],
      [{ name: "m", versionLabel: "" }, { x }, {}, TypeError],
      [{ name: "m", version: -1 }, { x }, {}, RangeError],
      ["m", undefined, {}, TypeError],
      ["m", { x }, { timeoutMs: -1 }, RangeError],
      ["m", { x }, { timeoutMs: Number.NaN }, RangeError],
      ["m", { x }, { outputFilter: "y" }, TypeError],
      ["m", { x }, { signal: {} }, TypeError],
      ["m", { x }, { metadata: 1 }, TypeError],
    ] as const)("predict(%j, ..., %o)", async (model, inputs, options, error) => {
      const transport = new EchoTransport();
      await expect(new PredictionClient(transport).predict(model as string, inputs as never, options as never)).rejects.toThrow(error);
      expect(transport.predicts).toHaveLength(0);
    });
  });

  it.each<[string, (client: PredictionClient, options: never) => unknown]>([
    ["predict", (client, options) => client.predict("m", { x }, options)],
    ["classify", (client, options) => client.classify("m", [{ x: 1 }], options)],
    ["regress", (client, options) => client.regress("m", [{ x: 1 }], options)],
    ["multiInference", (client, options) => client.multiInference([{ model: "m", method: "regress" }], [{ x: 1 }], options)],
    ["getModelMetadata", (client, options) => client.getModelMetadata("m", options)],
    ["getModelStatus", (client, options) => client.getModelStatus("m", options)],
    ["reloadConfig", (client, options) => client.reloadConfig({ models: [] }, options)],
    ["waitForModel", (client, options) => client.waitForModel("m", options)],
    ["close", (client, options) => client.close(options)],
    ["model", (client, options) => client.model("m", options)],
    ["predict of a model", (client, options) => client.model("m").predict({ x }, options)],
    ["classify of a model", (client, options) => client.model("m").classify([{ x: 1 }], options)],
    ["regress of a model", (client, options) => client.model("m").regress([{ x: 1 }], options)],
    ["getModelMetadata of a model", (client, options) => client.model("m").getModelMetadata(options)],
    ["getModelStatus of a model", (client, options) => client.model("m").getModelStatus(options)],
    ["waitForModel of a model", (client, options) => client.model("m").waitForModel(options)],
  ])("says that %s takes an object as options", async (_title, call) => {
    for (const [options, got] of [
      [null, "null"],
      [5, "5"],
    ]) {
      const client = new PredictionClient(new EchoTransport());
      const calling = async () => call(client, options as never);
      await expect(calling()).rejects.toThrow(new TypeError(`options: expected an object, got ${got}`));
    }
  });

  it("ignores options it does not know", () => {
    expect(() => new PredictionClient("localhost", 8500, { retry: false } as never)).not.toThrow();
  });
});
