/** gRPC and REST, through the same client, give equal results for every case that TensorFlow computed. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PredictionClient } from "../../src/client/prediction-client.js";
import { isServingError, type RpcError, ServingError, type SignatureError } from "../../src/errors.js";
import { type ModelMap, type ModelServer, type SignatureInit, servable, startModelServer } from "../../src/server/index.js";
import type { Signature } from "../../src/signature.js";
import type { DType } from "../../src/tensor/dtype.js";
import { type AnyTensor, tensor } from "../../src/tensor/tensor.js";
import type { PredictResult } from "../../src/transport/transport.js";
import { exchanges } from "../server/golden-exchanges.js";
import { startCannedRestServer } from "../support/canned-rest-server.js";
import { type RecordedCase, recordedCases } from "./recorded-cases.js";

const cases = recordedCases();
const models = [...new Set(cases.map(({ model }) => model))];

/** Cases that feed a shape which the signature does not have. */
const unchecked = ["half_plus_two/rank0", "half_plus_two/rank2", "dtype_zoo/scalar_given_vector"];

/** Smallest normal number: REST turns smaller ones into 0 (trap 42). */
const smallest: Partial<Record<AnyTensor["dtype"], number>> = { float32: 2 ** -126, float64: 2 ** -1022 };

/** Values as both transports can carry them; decimal text may move a float64 by a last digit or two (trap 5). */
function comparable({ dtype, shape, values }: AnyTensor) {
  const least = smallest[dtype] ?? 0;
  const plain = Array.from(values as ArrayLike<unknown>, (value) => {
    if (typeof value !== "number") return value instanceof Uint8Array ? Buffer.from(value).toString("latin1") : value;
    const normal = Math.abs(value) < least ? Math.sign(value) * 0 : value;
    return dtype === "float64" && Number.isFinite(normal) ? normal.toPrecision(15) : normal;
  });
  return { dtype, shape, values: plain };
}

const comparables = (tensors: Readonly<Record<string, AnyTensor>>) =>
  Object.fromEntries(Object.entries(tensors).map(([name, value]) => [name, comparable(value)]));

type Outcome = PredictResult | ServingError;

async function predict(client: PredictionClient, one: RecordedCase, restFormat: "column" | "row" = "column"): Promise<Outcome> {
  const { model, version, signatureName, inputs, outputFilter } = one;
  const bound = client.model({ name: model, version, signatureName }, { check: !unchecked.includes(one.id) });
  return await bound.predict(inputs, { outputFilter, restFormat }).catch((error: unknown) => {
    if (isServingError(error)) return error;
    throw error;
  });
}

/** Recorded metadata of a model, as REST answers them. */
function metadataOf(model: string): string {
  const recorded = exchanges("metadata-status").find(({ id }) => id === `metadata-status/rest/metadata_${model}`);
  if (recorded?.response.body === undefined) throw new Error(`no metadata of ${model} were recorded`);
  return recorded.response.body;
}

/** What REST refused before sending, because JSON has no form for it. */
function isBeyondRest(outcome: Outcome): boolean {
  return isServingError(outcome, "SignatureError") && outcome.differences.every((difference) => difference.endsWith("use gRPC"));
}

/** A model computes all outputs, whatever the caller filters: where only some were recorded, zeros stand for the others. */
function withAllOutputs(signature: Signature | undefined, recorded: Readonly<Record<string, AnyTensor>>): Record<string, AnyTensor> {
  const missing = Object.entries(signature?.outputs ?? {}).filter(([name]) => !(name in recorded));
  const zeros = missing.map(([name, { dtype, shape }]) => {
    const sizes = (shape ?? []).map((size) => size ?? 1);
    const count = sizes.reduce((product, size) => product * size, 1);
    return [name, tensor(dtype as DType, sizes, Array.from({ length: count }, () => (dtype === "string" ? "" : 0)) as never)];
  });
  return { ...Object.fromEntries(zeros), ...recorded };
}

describe("a server whose models answer as TensorFlow did", () => {
  let server: ModelServer;
  let clients: { readonly grpc: PredictionClient; readonly rest: PredictionClient };
  /** The case that is asked, and what of it arrived. */
  let asked: RecordedCase;
  let arrived: unknown[] = [];

  /** Servables with the recorded signatures that answer the case which is asked. */
  async function replayingModels(): Promise<ModelMap> {
    const canned = await startCannedRestServer(({ target }) => ({ status: 200, body: metadataOf(target.split("/")[3] ?? "") }));
    const client = new PredictionClient(canned.url);
    const entries = models.map(async (model) => {
      const { signatures } = await client.getModelMetadata(model);
      const one = servable({
        signatures: { ...signatures } as Record<string, SignatureInit>,
        predict: (inputs, { signatureName }) => {
          const given = Object.fromEntries(Object.keys(asked.inputs).map((name) => [name, inputs[name] as unknown as AnyTensor]));
          arrived.push(comparables(given));
          if ("code" in asked.expected) throw new ServingError(asked.expected.message, { code: asked.expected.code });
          return withAllOutputs(signatures[signatureName], asked.expected.outputs) as never;
        },
      });
      const versions = new Set(cases.filter((recorded) => recorded.model === model).map(({ version }) => version));
      return [model, Object.fromEntries([...versions].map((version) => [version, one]))] as const;
    });
    const map = Object.fromEntries(await Promise.all(entries));
    await client.close();
    await canned.close();
    return map;
  }

  beforeAll(async () => {
    server = await startModelServer({ models: await replayingModels() });
    clients = { grpc: new PredictionClient(server.grpcTarget), rest: new PredictionClient(server.restTarget) };
  });
  afterAll(async () => {
    await Promise.all([clients.grpc.close(), clients.rest.close()]);
    await server.close();
  });

  const counts: Record<string, number> = {};
  const count = (kind: string) => {
    counts[kind] = (counts[kind] ?? 0) + 1;
  };

  it.each(cases.map((one) => [one.id, one] as const))("%s", async (_id, one) => {
    asked = one;
    arrived = [];
    const grpc = await predict(clients.grpc, one);
    const overGrpc = arrived.splice(0);
    const rest = await predict(clients.rest, one);

    if (isServingError(grpc, "SignatureError")) {
      expect({ overGrpc, arrived }).toEqual({ overGrpc: [], arrived: [] });
      expect((rest as SignatureError).differences).toEqual(grpc.differences);
      return count("refused by the client, in the same words");
    }
    expect(overGrpc).toEqual([comparables(one.inputs)]);
    if (isBeyondRest(rest)) {
      expect(arrived).toEqual([]);
      expect(outputsOf(grpc)).toEqual(comparables((one.expected as { outputs: RecordedCase["inputs"] }).outputs));
      return count("only gRPC: REST refuses before sending");
    }
    expect(arrived).toEqual(overGrpc);
    if ("code" in one.expected) {
      for (const error of [grpc, rest] as RpcError[]) {
        expect(error).toMatchObject({ name: "RpcError", code: one.expected.code, serverMessage: one.expected.message });
      }
      expect((rest as RpcError).hint).toBe((grpc as RpcError).hint);
      return count("refused by the server, in the same words");
    }
    expect(outputsOf(grpc)).toEqual(comparables(one.expected.outputs));
    expect(outputsOf(rest)).toEqual(outputsOf(grpc));
    count("equal");

    const rows = await predict(clients.rest, one, "row");
    if (!isServingError(rows)) {
      expect(outputsOf(rows)).toEqual(outputsOf(grpc));
      return count("equal in row format, too");
    }
    // Row format needs rows in every input and output.
    expect(`${rows.name}: ${rows.message}`).toMatch(/^SignatureError: .*\(row format\)|^RpcError: .*Tensor name: \w+ has /);
    count("not for row format");
  });

  it("covers every case", () => {
    console.log(`parity over the embedded server: ${cases.length} cases of ${models.length} models`, counts);
    expect(counts).toEqual({
      equal: 153,
      "equal in row format, too": 105,
      "not for row format": 48,
      "only gRPC: REST refuses before sending": 40,
      "refused by the client, in the same words": 6,
      "refused by the server, in the same words": 13,
    });
  });
});

function outputsOf(outcome: Outcome) {
  if (isServingError(outcome)) throw outcome;
  return comparables(outcome.outputs);
}
