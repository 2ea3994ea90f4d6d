/** Traps of TensorFlow Serving's gRPC API, by the numbers of the list this project was built from. */
import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { DataType } from "../../gen/tensorflow/core/framework/types.js";
import { GetModelStatusResponse } from "../../gen/tensorflow_serving/apis/get_model_status.js";
import { PredictRequest, PredictResponse } from "../../gen/tensorflow_serving/apis/predict.js";
import { PredictionClient } from "../../src/client/prediction-client.js";
import { type StatusCode, statusCodes } from "../../src/errors.js";
import { tensor } from "../../src/tensor/tensor.js";
import { grpcTransportDefaults } from "../../src/transport/grpc/transport.js";
import { type CannedAnswer, type CannedCall, startCannedGrpcServer } from "../support/canned-grpc-server.js";
import { bytesOf, grpcExchanges } from "../transport/grpc/golden-exchanges.js";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A client of a server that gives prepared answers, and the calls it got. */
async function peer(answer: (call: CannedCall) => CannedAnswer | Promise<CannedAnswer>) {
  const seen: CannedCall[] = [];
  const server = await startCannedGrpcServer((call) => {
    seen.push(call);
    return answer(call);
  });
  const client = new PredictionClient(server.target);
  closers.push(
    () => server.close(),
    () => client.close(),
  );
  return { client, seen };
}

const refusing = (code: StatusCode, message: string) => peer(() => ({ code: statusCodes.indexOf(code), message }));
const answering = (response: Parameters<typeof PredictResponse.fromPartial>[0]) =>
  peer(() => ({ bytes: PredictResponse.encode(PredictResponse.fromPartial(response)).finish() }));
const shapeOf = (...sizes: number[]) => ({ dim: sizes.map((size) => ({ size })) });
const x = { x: tensor("float32", [2], [1, 2]) };

describe("trap 11: short or missing values become zeros or repeats", () => {
  it("so that tensors go as content, whose length was compared with the shape", async () => {
    const { client, seen } = await answering({});
    await client.predict("m", x);
    const { inputs } = PredictRequest.decode(seen[0]?.bytes ?? new Uint8Array());
    expect(Buffer.from(inputs.x?.tensorContent ?? []).toString("hex")).toBe("0000803f00000040");
    expect(inputs.x?.floatVal).toEqual([]);
    expect(() => tensor("float32", [3], [1, 2])).toThrow("3");
  });
});

describe("trap 12: answers come in several forms", () => {
  it("which are all read: typed lists, short ones, content, strings in content", async () => {
    const { client } = await answering({
      outputs: {
        typed: { dtype: DataType.DT_FLOAT, tensorShape: shapeOf(2), floatVal: [1, 2] },
        short: { dtype: DataType.DT_FLOAT, tensorShape: shapeOf(3), floatVal: [1, 2] },
        content: { dtype: DataType.DT_FLOAT, tensorShape: shapeOf(1), tensorContent: Buffer.from("0000803f", "hex") },
        strings: { dtype: DataType.DT_STRING, tensorShape: shapeOf(2), tensorContent: Buffer.from("\u0001\u0002abb") },
      },
    });
    const { outputs } = await client.predict("m", x);
    expect(outputs.typed?.values).toEqual(Float32Array.of(1, 2));
    expect(outputs.short?.values).toEqual(Float32Array.of(1, 2, 2));
    expect(outputs.content?.values).toEqual(Float32Array.of(1));
    expect(outputs.strings?.as("string").strings()).toEqual(["a", "bb"]);
  });
});

describe("trap 34: servers with --enable_serialization_as_tensor_content", () => {
  it("are understood over gRPC", async () => {
    const { response } = grpcExchanges("flags").find(({ id }) => id === "flags/content/float") ?? {};
    const { client } = await peer(() => ({ bytes: bytesOf(response?.bytes) }));
    const { outputs } = await client.predict("half_plus_two", x);
    const json = response?.json as { outputs: { y: { tensorContent: string } } } | undefined;
    const recorded = Buffer.from(json?.outputs.y.tensorContent ?? "", "base64");
    expect([...(outputs.y?.values ?? [])]).toEqual([0, 4, 8].map((at) => recorded.readFloatLE(at)));
  });
});

describe("traps 20 to 22: one code with several meanings", () => {
  it.each<[number, StatusCode, string, boolean, string]>([
    [20, "RESOURCE_EXHAUSTED", "Server Threadpool Exhausted", true, "grpc_max_threads"],
    [21, "UNAVAILABLE", "The batch scheduling queue to which this task was submitted is full; currently 2", true, "max_enqueued_batches"],
    [21, "RESOURCE_EXHAUSTED", "Run() timeout exceeded while waiting in batching queue", false, "a time-out, not a limit"],
    [21, "RESOURCE_EXHAUSTED", "received initial metadata size exceeds limit", false, "8 KiB"],
    [
      22,
      "FAILED_PRECONDITION",
      "Tensors with name 'x:0' from different tasks have different shapes and padding is off",
      true,
      "another caller",
    ],
  ])("trap %i: %s: %s", async (_trap, code, message, retryable, hint) => {
    const { client } = await refusing(code, message);
    await expect(client.predict("m", x)).rejects.toMatchObject({ code, retryable, hint: expect.stringContaining(hint) });
  });
});

describe("trap 23: zero rows can hang a batching server", () => {
  it("which ends at the call's deadline, as everything does", async () => {
    const { client } = await peer(() => new Promise<never>(() => undefined));
    const call = client.predict("half_plus_two", { x: tensor("float32", [0], []) }, { timeoutMs: 100 });
    await expect(call).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
  });
});

describe("trap 24: without a deadline a call can run for ever, and one below 1 ms is none", () => {
  it("so that every call has one, and none of less is sent", async () => {
    const timeouts: unknown[] = [];
    const server = createServer().on("stream", (stream, headers) => {
      timeouts.push(headers["grpc-timeout"]);
      stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-status": "5" }, { endStream: true });
    });
    await new Promise<void>((resolve) => {
      server.listen(0, "127.0.0.1", resolve);
    });
    const client = new PredictionClient("127.0.0.1", (server.address() as AddressInfo).port);
    closers.push(
      () => server.close(),
      () => client.close(),
    );
    await client.predict("m", x).catch(() => undefined);
    await client.predict("m", x, { timeoutMs: 5000 }).catch(() => undefined);
    await expect(client.predict("m", x, { timeoutMs: 1 })).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    expect(timeouts).toEqual([expect.stringMatching(/^(29\d{3}m|30000m|30S)$/), expect.stringMatching(/^(4\d{3}m|5000m|5S)$/)]);
  });
});

describe("trap 25: grpc-js takes 4 MiB, the server sends 2 GiB", () => {
  it("so that the limit is off", async () => {
    const values = new Float32Array(2 ** 21);
    const bytes = new Uint8Array(values.buffer);
    const { client } = await answering({
      outputs: { y: { dtype: DataType.DT_FLOAT, tensorShape: shapeOf(values.length), tensorContent: Buffer.from(bytes) } },
    });
    expect((await client.predict("m", x)).outputs.y?.size).toBe(2 ** 21);
  });
});

describe("trap 33: the newest ready version answers", () => {
  it("and gRPC says which", async () => {
    const { client } = await answering({ modelSpec: { name: "m", version: 7, signatureName: "serving_default" } });
    expect((await client.predict("m", x)).modelSpec).toEqual({ name: "m", version: 7n, signatureName: "serving_default" });
  });
});

describe("trap 36: MultiInference takes the version of its first task alone", () => {
  it("so that tasks of other versions are refused before sending", async () => {
    const { client, seen } = await answering({});
    const tasks = [
      { model: { name: "m", version: 1 }, method: "classify" },
      { model: { name: "m", version: 2 }, method: "regress" },
    ] as const;
    await expect(client.multiInference(tasks, [{ x: 1 }])).rejects.toThrow("expected version 1 as in the first task, got 2");
    expect(seen).toEqual([]);
  });
});

describe("trap 37: pings more often than every 5 minutes end the connection", () => {
  it("so that they come less often by default", () => {
    expect(grpcTransportDefaults.keepaliveMs).toBeGreaterThan(5 * 60_000);
  });
});

describe("trap 40: a status may carry bytes that are no UTF-8", () => {
  it("which cost neither the status nor its other versions", async () => {
    const text = "Failed to parse warmup record: \u0000?? from";
    const status = {
      modelVersionStatus: [
        { version: 2, state: 50, status: { errorCode: 3, errorMessage: text } },
        { version: 1, state: 30 },
      ],
    };
    const bytes = Buffer.from(GetModelStatusResponse.encode(GetModelStatusResponse.fromPartial(status as never)).finish());
    bytes.write("\xff\xfe", bytes.indexOf("??"), "latin1");
    const { client } = await peer(() => ({ bytes }));
    const versions = await client.getModelStatus("m");
    expect(versions.map(({ version, state }) => [version, state])).toEqual([
      [2n, "END"],
      [1n, "AVAILABLE"],
    ]);
    expect(versions[0]?.errorMessage).toBe("Failed to parse warmup record: \u0000\ufffd\ufffd from");
  });
});

describe("trap 41: a wrong rank can end the server", () => {
  it("so that a call that was lost with its connection is sent once more at most", async () => {
    let calls = 0;
    const server = createServer().on("stream", (stream) => {
      calls++;
      stream.session?.destroy();
    });
    await new Promise<void>((resolve) => {
      server.listen(0, "127.0.0.1", resolve);
    });
    const client = new PredictionClient("127.0.0.1", (server.address() as AddressInfo).port);
    closers.push(
      () => server.close(),
      () => client.close(),
    );
    await expect(client.predict("m", x)).rejects.toMatchObject({ code: "UNAVAILABLE", hint: expect.stringContaining("wrong rank") });
    expect(calls).toBe(2);
  });
});
