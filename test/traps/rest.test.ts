/** Traps of TensorFlow Serving's REST API, by the numbers of the list this project was built from. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { PredictionClient } from "../../src/client/prediction-client.js";
import type { RpcError } from "../../src/errors.js";
import { servable, startModelServer } from "../../src/server/index.js";
import { dtypes } from "../../src/tensor/dtype.js";
import { tensor } from "../../src/tensor/tensor.js";
import { type CannedRestServer, startCannedRestServer } from "../support/canned-rest-server.js";
import { type RecordedPeer, recordedBody, startRecordedPeer } from "./recorded-peer.js";

let peer: RecordedPeer;
beforeEach(async () => {
  peer = await startRecordedPeer();
});
afterEach(() => peer.close());

/** Let the peer answer a recorded body. */
const answerAs = (id: string) => {
  peer.answer = { status: 200, body: recordedBody(id) };
};
const zoo = (signatureName: string) => ({ name: "dtype_zoo", signatureName });

describe("trap 1: bare NaN and Infinity", () => {
  it("are read and written", async () => {
    answerAs("predict-rest/hand/specials");
    const values = [Number.NaN, Infinity, -Infinity];
    const { outputs } = await peer.client.predict("half_plus_two", { x: values }, { restFormat: "row" });
    expect(outputs.y?.values).toEqual(Float32Array.of(...values, Infinity, -Infinity));
    expect(peer.sent).toEqual(['{"instances":[{"x":NaN},{"x":Infinity},{"x":-Infinity}]}']);
  });
});

describe("trap 2: 64-bit integers beyond what a double holds", () => {
  it("are exact in predictions", async () => {
    answerAs("predict-rest/hand/int64_big");
    const values = [9007199254740993n, -9223372036854775808n, 9223372036854775807n];
    const { outputs } = await peer.client.predict(zoo("int64"), { x: values });
    expect(outputs.identity?.values).toEqual(BigInt64Array.from(values));
    expect(peer.sent[0]).toContain(`{"x":[${values.join(",")}]}`);
  });

  it("are exact in predictions of uint64", async () => {
    answerAs("predict-rest/hand/uint64_big");
    const { outputs } = await peer.client.predict(zoo("uint64"), { x: [18446744073709551615n] });
    expect(outputs.identity?.values).toEqual(BigUint64Array.of(18446744073709551615n, 9223372036854775808n));
  });

  it("are read from text in metadata", async () => {
    const { modelSpec } = await peer.client.getModelMetadata("half_plus_two");
    expect(modelSpec.version).toBe(123n);
  });
});

describe("trap 3: 1.0 is no integer, and 1 makes an int64 feature", () => {
  it("prints by the signature's dtype", async () => {
    answerAs("predict-rest/hand/int64_big");
    await peer.client.predict(zoo("int64"), { x: [1, 2] });
    expect(peer.sent[0]).toContain('"inputs":{"x":[1,2]}');
  });

  it("prints features by their kind", async () => {
    peer.answer = { status: 200, body: '{"results": [1.0]}' };
    await peer.client.regress("half_plus_two", [{ x: 1, n: 1n }]);
    expect(peer.sent[0]).toContain('"examples":[{"x":1.0,"n":1}]');
  });
});

describe("trap 4: integers out of range wrap silently", () => {
  it.each([
    ["int8", 128],
    ["int16", -32769],
    ["uint8", 256],
    ["uint8", -1],
  ])("so that %s %i is refused before sending", async (dtype, value) => {
    const refused = { code: "INVALID_ARGUMENT", message: expect.stringContaining(String(value)) };
    await expect(peer.client.predict(zoo(dtype), { x: [value] })).rejects.toMatchObject(refused);
    expect(() => tensor(dtype as "int8", [1], [value])).toThrow(String(value));
    expect(peer.sent).toEqual([]);
  });
});

describe("trap 5: -0 loses its sign", () => {
  it("unless it is written as -0.0", async () => {
    answerAs("predict-rest/hand/minus_zero_identity");
    const { outputs } = await peer.client.predict(zoo("float"), { x: [-0, 0] });
    expect(peer.sent[0]).toContain('{"x":[-0.0,0]}');
    expect(outputs.identity?.values).toEqual(Float32Array.of(0, -0, 0, 0));
  });
});

describe("trap 6: dtypes that JSON cannot carry", () => {
  it.each([
    ["half", "float16"],
    ["bfloat16", "bfloat16"],
    ["uint16", "uint16"],
    ["complex64", "complex64"],
    ["complex128", "complex128"],
    ["qint8", "qint8"],
    ["quint8", "quint8"],
    ["qint32", "qint32"],
  ] as const)("refuses %s in inputs and outputs before sending", async (signatureName, dtype) => {
    const x = tensor(dtype, [0], new dtypes[dtype].array(0) as never);
    const differences = [`input "x": REST cannot carry ${dtype}, use gRPC`, `output "identity": REST cannot carry ${dtype}, use gRPC`];
    await expect(peer.client.predict(zoo(signatureName), { x })).rejects.toMatchObject({
      name: "SignatureError",
      differences: expect.arrayContaining(differences),
    });
    expect(peer.sent).toEqual([]);
  });
});

describe("trap 7: strings that are no UTF-8", () => {
  it("come back byte for byte", async () => {
    answerAs("predict-rest/hand/string_b64_binary");
    const { outputs } = await peer.client.predict(zoo("string"), { x: [Uint8Array.of(255, 0, 254), ""] });
    expect(outputs.identity?.values).toEqual([Uint8Array.of(255, 0, 254), new Uint8Array(0)]);
    expect(peer.sent[0]).toContain('[{"b64":"/wD+"},""]');
  });

  it("are the same in outputs called ..._bytes, which come as base64", async () => {
    answerAs("predict-rest/hand/bytes_plain_string");
    const { outputs } = await peer.client.predict(zoo("foo_bytes"), { foo_bytes: ["a", "grün"] });
    expect(outputs.bar_bytes?.values).toEqual([Uint8Array.of(0, 255, 97), Uint8Array.of(0, 255, ...Buffer.from("grün"))]);
    expect(outputs.plain?.as("string").strings()).toEqual(["1", "5"]);
  });
});

describe("trap 8: a single output has no name", () => {
  it.each(["column", "row"] as const)("and gets it back from the signature in %s format", async (restFormat) => {
    peer.answer = { status: 200, body: restFormat === "row" ? '{"predictions": [2.5]}' : '{"outputs": [2.5]}' };
    const { outputs } = await peer.client.predict("half_plus_two", [1], { restFormat });
    expect(Object.keys(outputs)).toEqual(["y"]);
    expect(outputs.y?.values).toEqual(Float32Array.of(2.5));
  });
});

describe("trap 9: column format ignores names it does not know", () => {
  it("so that they are refused before sending, with check or without", async () => {
    const inputs = { x: tensor("float32", [1], [1]), z: tensor("float32", [1], [1]) };
    const checked = peer.client.model("half_plus_two").predict(inputs);
    await expect(checked).rejects.toMatchObject({ name: "SignatureError", message: expect.stringContaining('"z"') });
    const unchecked = peer.client.model("half_plus_two", { check: false }).predict(inputs);
    await expect(unchecked).rejects.toMatchObject({ name: "RpcError", serverMessage: expect.stringContaining("Sent extra: {z}") });
    expect(peer.sent).toEqual([]);
  });
});

describe("trap 10: row format needs outputs of one length, and tells after the run", () => {
  it("so that column format is the default", async () => {
    peer.answer = { status: 200, body: '{"outputs": [2.5]}' };
    await peer.client.predict("half_plus_two", { x: [1] });
    expect(peer.sent).toEqual(['{"inputs":{"x":[1]}}']);
  });

  it("and the refusal names the way out", async () => {
    peer.answer = { status: 400, body: '{"error": "Tensor name: flat has inconsistent batch size: 2 expecting: 1"}' };
    const call = peer.client.predict(zoo("unknown_rank"), { x: [[1, 2]] }, { restFormat: "row" });
    await expect(call).rejects.toMatchObject({ code: "INVALID_ARGUMENT", hint: expect.stringContaining('restFormat "column"') });
  });
});

describe("traps 15 and 16: what a refusal looks like", () => {
  let server: CannedRestServer;
  let client: PredictionClient;
  beforeEach(async () => {
    server = await startCannedRestServer();
    client = new PredictionClient(server.url);
  });
  afterEach(async () => {
    await client.close();
    await server.close();
  });

  const html = { "content-type": "text/html" };
  it.each([
    [
      "HTML 404: not the API",
      { status: 404, headers: html, body: "<HTML><HEAD>404 Not Found</HEAD></HTML>" },
      "UNIMPLEMENTED",
      "port (8501 by default",
    ],
    [
      "JSON 404: not loaded",
      { status: 404, body: '{"error": "Servable not found for request: Latest(m)"}' },
      "NOT_FOUND",
      "no such model or version is loaded",
    ],
    [
      "JSON 404: status",
      { status: 404, body: '{"error": "Could not find any versions of model m"}' },
      "NOT_FOUND",
      "has never seen this model",
    ],
    ["an empty body", { status: 400, body: "" }, "INVALID_ARGUMENT", undefined],
  ] as const)("%s", async (_title, answer, code, hint) => {
    server.answer = () => answer;
    const error = (await client.getModelStatus("m").catch((caught: unknown) => caught)) as RpcError;
    expect(error).toMatchObject({ name: "RpcError", code, serverMessage: expect.stringMatching(/./) });
    expect(error.hint ?? "").toContain(hint ?? "");
  });

  it("HEAD, which desynchronises the connection, is never sent", async () => {
    server.answer = () => ({ status: 200, body: '{"model_version_status": [], "results": []}' });
    const spec = { name: "m", version: 1 };
    const x = { x: tensor("float32", [1], [1]) };
    const calls = [
      client.predict(spec, x),
      client.classify(spec, [{}]),
      client.regress(spec, [{}]),
      client.getModelMetadata(spec),
      client.getModelStatus(spec),
    ];
    await Promise.allSettled(calls);
    await client.waitForModel(spec, { timeoutMs: 50, pollIntervalMs: 10 }).catch(() => undefined);
    expect(new Set(server.seen.map(({ method }) => method))).toEqual(new Set(["GET", "POST"]));
  });
});

describe("trap 17: query strings become part of the name", () => {
  const names = ["a?b", "a#b", "a/b", "a:predict", "a%2Fb", "a b", "grün", "a+b", "...", "a\\b", "%"];

  it("so that names and labels are percent-encoded, and verbs lower-case", async () => {
    const x = { dtype: "float32", shape: [null] } as const;
    const echo = servable({ signatures: { serving_default: { inputs: { x }, outputs: { y: x } } }, predict: ({ x: y }) => ({ y }) });
    const models = Object.fromEntries(names.map((name) => [name, { 1: echo }]));
    const versionLabels = Object.fromEntries(names.map((name) => [name, { [name]: 1 }]));
    const server = await startModelServer({ models, versionLabels });
    const client = new PredictionClient(server.restTarget);
    for (const name of names) {
      for (const model of [name, { name, version: 1 }, { name, versionLabel: name }]) {
        expect((await client.predict(model, { x: [1] })).outputs.y?.values).toEqual(Float32Array.of(1));
        expect((await client.getModelMetadata(model)).modelSpec.name).toBe(name);
        expect(await client.getModelStatus(model)).toHaveLength(1);
      }
    }
    await client.close();
    await server.close();
  });

  it.each([".", ".."])("and a name that URLs take for a step in the path, %s, is refused before sending", async (name) => {
    const call = (model: Parameters<PredictionClient["predict"]>[0]) => peer.client.predict(model, { x: tensor("float32", [1], [1]) });
    await expect(call(name)).rejects.toThrow("use gRPC");
    await expect(call({ name: "half_plus_two", versionLabel: name })).rejects.toThrow("use gRPC");
    expect(peer.seen).toEqual([]);
  });
});

describe("trap 18: a body that fails to unpack looks empty", () => {
  it("so that bodies are sent as they are", async () => {
    peer.answer = { status: 200, body: '{"outputs": [2.5]}' };
    await peer.client.predict("half_plus_two", { x: Array.from({ length: 100_000 }, () => 1) });
    expect(peer.seen.map(({ headers }) => headers["content-encoding"])).toEqual([undefined, undefined]);
  });

  it("and a compressed one is sent once more as it is", async () => {
    peer.answer = { status: 400, body: '{"error": "JSON Parse error: The document is empty"}' };
    const client = new PredictionClient(peer.url, { restGzipMinBytes: 0 });
    const call = client.predict("half_plus_two", { x: [1] });
    await expect(call).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    const posts = peer.seen.filter(({ method }) => method === "POST");
    expect(posts.map(({ headers }) => headers["content-encoding"])).toEqual(["gzip", undefined]);
    await client.close();
  });

  it("and the refusal says that something on the way changed it", async () => {
    peer.answer = { status: 400, body: '{"error": "JSON Parse error: The document is empty. at offset: 0"}' };
    const call = peer.client.predict("half_plus_two", { x: [1] });
    await expect(call).rejects.toMatchObject({ code: "INVALID_ARGUMENT", hint: expect.stringContaining("compresses") });
  });
});

describe("trap 23: zero rows", () => {
  it("are refused in row format, where no server takes them", async () => {
    const call = peer.client.predict("half_plus_two", { x: tensor("float32", [0], []) }, { restFormat: "row" });
    await expect(call).rejects.toMatchObject({ name: "SignatureError", message: expect.stringContaining("at least one row") });
    expect(peer.sent).toEqual([]);
  });
});

describe("trap 33: the newest ready version answers, and REST does not say which", () => {
  it("so that a version stands in the result only where the call named it", async () => {
    peer.answer = { status: 200, body: '{"outputs": [2.5]}' };
    const versionOf = async (model: Parameters<PredictionClient["predict"]>[0]) =>
      (await peer.client.predict(model, [1])).modelSpec.version;
    expect(await versionOf("half_plus_two")).toBeUndefined();
    expect(await versionOf({ name: "half_plus_two", version: 123 })).toBe(123n);
  });
});

describe("trap 35: __saved_model_init_op is listed as a signature", () => {
  it("and left out of the metadata", async () => {
    const { signatures } = await peer.client.getModelMetadata("half_plus_two");
    expect(new TextDecoder().decode(recordedBody("metadata-status/rest/metadata_half_plus_two"))).toContain("__saved_model_init_op");
    expect(Object.keys(signatures)).toContain("serving_default");
    expect(Object.keys(signatures)).not.toContain("__saved_model_init_op");
  });
});

describe("trap 38: JSON nested without end kills the server", () => {
  it("so that no input nests deeper than a tensor can", async () => {
    let deep: unknown = 1;
    for (let depth = 0; depth < 300; depth++) deep = [deep];
    await expect(peer.client.predict(zoo("float"), { x: deep as never })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(() =>
      tensor(
        "float32",
        Array.from({ length: 255 }, () => 1),
        [1],
      ),
    ).toThrow("254");
    expect(peer.sent).toEqual([]);
  });
});

describe("trap 42: the server turns subnormal numbers into 0", () => {
  it("although they are written and read in full", async () => {
    const smallest = Math.fround(1e-45);
    peer.answer = { status: 200, body: '{"outputs": {"identity": [1.401298464324817e-45], "sum": [0.0]}}' };
    const { outputs } = await peer.client.predict(zoo("float"), { x: [smallest] });
    expect(outputs.identity?.values).toEqual(Float32Array.of(smallest));
    expect(Math.fround(JSON.parse(peer.sent[0] ?? "").inputs.x[0])).toBe(smallest);
  });
});
