import { Client, credentials } from "@grpc/grpc-js";
import Long from "long";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TensorProto } from "../../gen/tensorflow/core/framework/tensor.js";
import { PredictRequest, PredictResponse } from "../../gen/tensorflow_serving/apis/predict.js";
import { modelSpecToProto, tensorFromProto, tensorToProto } from "../../src/messages.js";
import { type ModelServer, servable, startModelServer } from "../../src/server/index.js";
import { type DType, dtypes } from "../../src/tensor/dtype.js";
import { type AnyTensor, tensor } from "../../src/tensor/tensor.js";
import { halfPlusTwo } from "./golden-models.js";
import { rawGrpc } from "./raw-grpc.js";

let server: ModelServer;
let client: Client;
beforeAll(async () => {
  server = await startModelServer({ models: { half_plus_two: halfPlusTwo } });
  client = new Client(server.grpcTarget, credentials.createInsecure());
});
afterAll(async () => {
  client.close();
  await server.close();
});

const predictMethod = "/tensorflow.serving.PredictionService/Predict";
const dtypeCases = Object.keys(dtypes) as DType[];

/** Small values that every dtype has; some of them negative where the array is signed. */
function sample(dtype: DType, size: number): AnyTensor {
  if (dtype === "string")
    return tensor(
      "string",
      [size],
      Array.from({ length: size }, (_, index) => `s${index}`),
    );
  const { array, kind } = dtypes[dtype];
  const values = new array(kind === "complex" ? 2 * size : size);
  const big = values instanceof BigInt64Array || values instanceof BigUint64Array;
  for (let i = 0; i < values.length; i++) values[i] = (big ? BigInt(i % 2) : i % 2) as never;
  if (dtype === "int64" && size > 0) values[0] = -(2n ** 63n) as never;
  if (dtype === "uint64" && size > 0) values[0] = (2n ** 64n - 1n) as never;
  if (dtype === "int4" && size > 0) values[0] = -8 as never;
  return tensor(dtype, [size], values as never) as AnyTensor;
}

function encodePredict(name: string, x: AnyTensor): Uint8Array {
  return PredictRequest.encode(PredictRequest.create({ modelSpec: modelSpecToProto({ name }), inputs: { x: tensorToProto(x) } })).finish();
}

describe("createGrpcServer", () => {
  it("ends a call whose deadline passes and aborts the servable's signal", async () => {
    const spec = { dtype: "float32", shape: [null] } as const;
    let reason: unknown;
    const stuck = servable({
      signatures: { serving_default: { inputs: { x: spec }, outputs: { y: spec } } },
      predict: (_inputs, { signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => {
            reason = signal.reason;
            reject(signal.reason);
          });
        }),
    });
    const slow = await startModelServer({ models: { stuck } });
    const slowClient = new Client(slow.grpcTarget, credentials.createInsecure());
    const bytes = encodePredict("stuck", tensor("float32", [1], [1]));
    // The deadline must not pass before the call has reached the server.
    await new Promise((resolve) => slowClient.waitForReady(Date.now() + 10_000, resolve));
    expect((await rawGrpc(slowClient, predictMethod, bytes, 100)).code).toBe("DEADLINE_EXCEEDED");
    await expect.poll(() => reason).toMatchObject({ code: "DEADLINE_EXCEEDED" });
    slowClient.close();
    await slow.close();
  });

  it.each(dtypeCases)("sends %s back as it came, in typed fields and above them in tensor_content", async (dtype) => {
    const spec = { dtype, shape: [null] } as const;
    const echo = servable({
      signatures: { serving_default: { inputs: { x: spec }, outputs: { y: spec } } },
      predict: ({ x }) => ({ y: x as never }),
    });
    const echoServer = await startModelServer({ models: { echo } });
    const echoClient = new Client(echoServer.grpcTarget, credentials.createInsecure());
    for (const size of [0, 3, 70_000]) {
      const x = sample(dtype, size);
      const bytes = encodePredict("echo", x);
      const answer = await rawGrpc(echoClient, predictMethod, bytes);
      expect(answer.message).toBe("");
      const y = PredictResponse.decode(answer.bytes ?? new Uint8Array()).outputs["y"] ?? TensorProto.create();
      expect(y.tensorContent.length === 0).toBe(dtype === "string" || size === 0 || (size <= 3 && !dtype.startsWith("float8")));
      expect(tensorFromProto(y, "y")).toEqual(x);
    }
    echoClient.close();
    await echoServer.close();
  });

  it("limits what the inputs of one request may grow to together", async () => {
    const spec = { dtype: "int8", shape: [null] } as const;
    const count = servable({
      signatures: { serving_default: { inputs: { a: spec, b: spec }, outputs: { y: { dtype: "int32", shape: [] } } } },
      predict: ({ a, b }) => ({ y: a.values.length + b.values.length }),
    });
    const counting = await startModelServer({ models: { count } });
    const countingClient = new Client(counting.grpcTarget, credentials.createInsecure());
    // One value that is repeated.
    const grown = (size: number) =>
      TensorProto.create({ dtype: dtypes.int8.wire, tensorShape: { dim: [{ size: Long.fromNumber(size) }] }, intVal: [1] });
    const ask = (size: number) => {
      const inputs = { a: grown(size), b: grown(size) };
      const bytes = PredictRequest.encode(PredictRequest.create({ modelSpec: modelSpecToProto({ name: "count" }), inputs })).finish();
      return rawGrpc(countingClient, predictMethod, bytes);
    };
    expect((await ask(30 * 1024 ** 2)).code).toBe("OK");
    expect(await ask(40 * 1024 ** 2)).toEqual({ code: "INVALID_ARGUMENT", message: "tensor parsing error: b" });
    countingClient.close();
    await counting.close();
  });

  it("does not count a held call whose client left", async () => {
    const monitored = await startModelServer({
      models: { half_plus_two: halfPlusTwo },
      monitoring: { prometheusConfig: { enable: true } },
    });
    const monitoredClient = new Client(monitored.grpcTarget, credentials.createInsecure());
    monitored.pause();
    const bytes = encodePredict("half_plus_two", tensor("float32", [1], [1]));
    expect((await rawGrpc(monitoredClient, predictMethod, bytes, 150)).code).toBe("DEADLINE_EXCEEDED");
    // Once it has come so has, before it on the same connection, the end of the first.
    const next = rawGrpc(monitoredClient, predictMethod, bytes);
    await expect.poll(() => monitored.requests.length).toBe(2);
    monitored.resume();
    expect((await next).code).toBe("OK");
    const page = await fetch(`${monitored.restTarget}/monitoring/prometheus/metrics`);
    expect(await page.text()).toContain('request_count{model_name="half_plus_two",status="OK"} 1\n');
    monitoredClient.close();
    await monitored.close();
  });

  it("refuses bytes that are no request with INTERNAL", async () => {
    expect((await rawGrpc(client, predictMethod, Uint8Array.of(0x0a, 0xff))).code).toBe("INTERNAL");
  });
});
