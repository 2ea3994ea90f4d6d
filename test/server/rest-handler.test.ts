import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ModelServer, type Servable, servable, startModelServer } from "../../src/server/index.js";
import { heldModel } from "./both-fronts.js";
import { halfPlusTwo } from "./golden-models.js";
import { rawHttp } from "./raw-http.js";

let server: ModelServer;
beforeAll(async () => {
  server = await startModelServer({ models: { half_plus_two: halfPlusTwo }, monitoring: { prometheusConfig: { enable: true } } });
});
afterAll(() => server.close());

const status = "/v1/models/half_plus_two";
const predict = `${status}:predict`;

function request(method: string, target: string, body = ""): Buffer {
  return Buffer.from(`${method} ${target} HTTP/1.1\r\nContent-Length: ${body.length}\r\n\r\n${body}`, "latin1");
}

/** A list in a list, `depth` times. */
function nested(depth: number): string {
  return "[".repeat(depth) + "]".repeat(depth);
}

describe("createRestServer", () => {
  // What it answers to the recorded requests is compared in golden.test.ts.

  it("answers HEAD without the body that the real server sends, so that the next answer can be read", async () => {
    // The last one is answered with a page that ends the connection.
    const requests = [request("HEAD", status), request("GET", status), request("GET", "/")];
    expect(await everything(server.restPort, Buffer.concat(requests))).toMatch(
      /^HTTP\/1\.1 400 Bad Request\r\n[^{]*Content-Length: 67\r\n\r\nHTTP\/1\.1 200 OK\r\n/,
    );
  });

  it.each([
    ["as a value", `{"instances": ${nested(100_000)}}`, 400, "tensor parsing error: x"],
    ["as a named value", `{"inputs": {"x": ${nested(100_000)}}}`, 400, "tensor parsing error: x"],
    ["as the whole body", nested(100_000), 400, "Is not object"],
    ["in a key that is ignored", `{"instances": [1.0], "z": ${nested(100_000)}}`, 200, "predictions"],
    ["unclosed", "[".repeat(100_000), 400, "JSON Parse error: Invalid value. at offset: 100000"],
  ])("takes 100,000 nested lists, which end the real server: %s", async (_where, body, code, text) => {
    const answer = await rawHttp(server.restPort, request("POST", predict, body));
    expect({ code: answer.status, text: answer.body.toString() }).toEqual({ code, text: expect.stringContaining(text) });
  });

  it.each(["Classify", "Regress"])("takes 100,000 nested lists as a feature of %s", async (method) => {
    const body = `{"signature_name": "regress_x_to_y", "examples": [{"x": ${nested(100_000)}}]}`;
    const answer = await rawHttp(server.restPort, request("POST", `${status}:${method.toLowerCase()}`, body));
    expect({ code: answer.status, text: answer.body.toString() }).toEqual({
      code: 400,
      text: expect.stringContaining("unexpected JSON type: Array"),
    });
  });

  it("counts what it answers, and shows it to Prometheus", async () => {
    const page = async () => (await rawHttp(server.restPort, request("GET", "/monitoring/prometheus/metrics"))).body.toString();
    const count = async () => Number(/request_count\{model_name="nope",status="NOT_FOUND"\} (\d+)/.exec(await page())?.[1] ?? 0);
    const before = await count();
    await rawHttp(server.restPort, request("GET", "/v1/models/nope"));
    expect(await count()).toBe(before + 1);
  });

  it.each([
    ["is held", (held: ModelServer) => held.pause()],
    ["is delayed", (held: ModelServer) => void held.faults.add({ delayMs: 3_600_000, times: 1 })],
  ])("neither runs nor counts a call that %s when its client leaves", async (_how, hold) => {
    let runs = 0;
    const predictCounted: Servable["predict"] = (inputs, context) => {
      runs++;
      return halfPlusTwo.predict(inputs, context);
    };
    const monitored = await startModelServer({
      models: { half_plus_two: { ...halfPlusTwo, predict: predictCounted } },
      monitoring: { prometheusConfig: { enable: true } },
    });
    hold(monitored);
    const ask = request("POST", predict, '{"instances": [1.0]}');
    const socket = connect({ port: monitored.restPort, host: "127.0.0.1", allowHalfOpen: true }, () => socket.write(ask));
    await expect.poll(() => monitored.requests.length).toBe(1);
    socket.end();
    await once(socket.resume(), "end");
    socket.destroy();
    monitored.resume();
    expect((await rawHttp(monitored.restPort, ask)).status).toBe(200);
    const page = await rawHttp(monitored.restPort, request("GET", "/monitoring/prometheus/metrics"));
    expect(page.body.toString()).toContain('request_count{model_name="half_plus_two",status="OK"} 1\n');
    expect(runs).toBe(1);
    await monitored.close();
  });

  it("ends the connection of a client that left before the answer to its call was held", async () => {
    const held = heldModel();
    const paused = await startModelServer({ models: { held: held.model } });
    const ask = request("POST", "/v1/models/held:predict", '{"instances": [1.0]}');
    const socket = connect({ port: paused.restPort, host: "127.0.0.1", allowHalfOpen: true }, () => socket.end(ask));
    await expect.poll(() => held.runs()).toBe(1);
    paused.pause();
    held.release();
    await once(socket.resume(), "end");
    socket.destroy();
    await paused.close();
  });

  it.each([
    ["the metrics page", "GET", "/monitoring/prometheus/metrics"],
    ["OPTIONS", "OPTIONS", status],
    ["a page", "GET", "/"],
    ["what is malformed", "GET", "/v1/nothing"],
  ])("holds %s while it is paused", async (_what, method, target) => {
    server.pause();
    let hasAnswered = false;
    const answer = rawHttp(server.restPort, request(method, target)).finally(() => {
      hasAnswered = true;
    });
    // The time it takes another call to be held.
    const calls = server.requests.length;
    const call = rawHttp(server.restPort, request("GET", status));
    await expect.poll(() => server.requests.length).toBe(calls + 1);
    expect(hasAnswered).toBe(false);
    server.resume();
    expect((await answer).status).toBeGreaterThan(0);
    await call;
  });

  it("escapes what labels may not hold", async () => {
    await rawHttp(server.restPort, request("GET", "/v1/models/a%22%5Cb"));
    const { body } = await rawHttp(server.restPort, request("GET", "/monitoring/prometheus/metrics"));
    expect(body.toString()).toContain('{model_name="a\\"\\\\b",status="NOT_FOUND"} 1');
  });

  it("lets a run without a limit take its time", async () => {
    const spec = { dtype: "float32", shape: [null] } as const;
    const signatures = { serving_default: { inputs: { x: spec }, outputs: { y: spec } } };
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const slow = servable({ signatures, predict: ({ x }) => held.then(() => ({ y: x })) });
    const unlimited = await startModelServer({ models: { slow }, restTimeoutMs: 0 });
    const answer = rawHttp(unlimited.restPort, request("POST", "/v1/models/slow:predict", '{"instances": [1.5]}'));
    setTimeout(release, 20);
    expect((await answer).status).toBe(200);
    await unlimited.close();
  });
});

/** Everything that comes back on a connection until the server closes it. */
function everything(port: number, bytes: Uint8Array): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(bytes));
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
    });
    socket.on("close", () => resolve(text));
  });
}
