import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { logRequest, type ServerRequest, serverRequest } from "../../src/server/request-log.js";
import { fronts, startBoth } from "./both-fronts.js";
import { rawHttp } from "./raw-http.js";

const name = "half_plus_two";

let both: Awaited<ReturnType<typeof startBoth>>;
beforeEach(async () => {
  both = await startBoth();
});
afterEach(() => both.close());

const ask = (text: string) => rawHttp(both.server.restPort, Buffer.from(text, "latin1"));
const post = (path: string, body: string) => ask(`POST ${path} HTTP/1.1\r\nContent-Length: ${body.length}\r\n\r\n${body}`);

describe.each(fronts)("requests over %s", (_title, front) => {
  it("hold each call with the model it names, whatever becomes of it", async () => {
    const { server } = both;
    const client = both.client(front);
    const { requests } = server;
    await client.getModelStatus({ name, version: 1 });
    await client.getModelMetadata(name);
    await expect(client.getModelMetadata({ name, versionLabel: "stable" })).rejects.toThrow("label: stable");
    await expect(client.getModelStatus("nobody")).rejects.toThrow("NOT_FOUND");
    await client.classify({ name, signatureName: "classify_x_to_y" }, [{ x: 1 }]);
    await client.regress({ name, signatureName: "regress_x_to_y" }, [{ x: 1 }]);
    expect(requests.map(({ metadata: _metadata, ...request }) => request)).toEqual([
      { transport: front, method: "getModelStatus", model: name, version: 1n },
      { transport: front, method: "getModelMetadata", model: name },
      { transport: front, method: "getModelMetadata", model: name, versionLabel: "stable" },
      { transport: front, method: "getModelStatus", model: "nobody" },
      { transport: front, method: "classify", model: name, signatureName: "classify_x_to_y" },
      { transport: front, method: "regress", model: name, signatureName: "regress_x_to_y" },
    ]);
  });

  it("have the caller's metadata under lower-case names, without a prototype", async () => {
    await both.client(front).getModelStatus(name, { metadata: { "X-Try": "2", "x-many": ["a", "b"] } });
    const [request] = both.server.requests;
    expect(request?.metadata).toMatchObject({ "x-try": "2", "x-many": expect.stringMatching(/^a, ?b$/) });
    expect(Object.getPrototypeOf(request?.metadata)).toBeNull();
  });
});

describe("requests over gRPC", () => {
  it("name the first task's model for multiInference and none for reloadConfig", async () => {
    const client = both.client("grpc");
    await client.multiInference([{ model: { name, signatureName: "classify_x_to_y" }, method: "classify" }], [{ x: 1 }]);
    await expect(client.reloadConfig({ models: [] })).resolves.toBeUndefined();
    expect(both.server.requests).toMatchObject([
      { method: "multiInference", model: name, signatureName: "classify_x_to_y" },
      { method: "reloadConfig", model: undefined },
    ]);
  });

  it("have bytes of metadata as base64", async () => {
    const client = new Client(both.server.grpcTarget, credentials.createInsecure());
    const metadata = new Metadata();
    metadata.set("trace-bin", Buffer.from([1, 2, 255]));
    const pass = (value: Buffer) => value;
    await new Promise((resolve) =>
      client.makeUnaryRequest("/tensorflow.serving.ModelService/GetModelStatus", pass, pass, Buffer.alloc(0), metadata, {}, resolve),
    );
    client.close();
    expect(both.server.requests).toMatchObject([{ method: "getModelStatus", model: undefined, metadata: { "trace-bin": "AQL/" } }]);
  });
});

describe("requests over REST", () => {
  it("hold calls whose body is wrong", async () => {
    expect((await post(`/v1/models/${name}:predict`, "{")).status).toBe(400);
    expect((await post(`/v1/models/${name}/versions/3:predict`, '{"signature_name": "s"}')).status).toBe(404);
    expect(both.server.requests).toMatchObject([
      { method: "predict", model: name },
      { method: "predict", model: name, version: 3n, signatureName: "s" },
    ]);
    expect(both.server.requests[0]).not.toHaveProperty("signatureName");
  });

  it("hold nothing that is no call of the API", async () => {
    await ask("GET / HTTP/1.1\r\n\r\n");
    await ask("GET /v1/nothing HTTP/1.1\r\n\r\n");
    await post(`/v1/models/${name}:train`, "{}");
    expect(both.server.requests).toEqual([]);
  });
});

describe("logRequest", () => {
  it("keeps the latest 1,000", () => {
    const log: ServerRequest[] = [];
    for (let call = 0; call < 1_005; call++) {
      logRequest(log, serverRequest({ transport: "grpc", method: "predict", spec: { name: `m${call}` }, headers: {} }));
    }
    expect(log.length).toBe(1_000);
    expect([log[0]?.model, log.at(-1)?.model]).toEqual(["m5", "m1004"]);
  });
});
