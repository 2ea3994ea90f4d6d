/** Metadata, status and refusals recorded from TensorFlow Serving 2.20.0 over REST, returned to the public client. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PredictionClient } from "../../../src/client/prediction-client.js";
import { isServingError, statusCodes } from "../../../src/errors.js";
import type { ModelSpec } from "../../../src/model-spec.js";
import type { Signature } from "../../../src/signature.js";
import { isDType } from "../../../src/tensor/dtype.js";
import type { ModelMetadata } from "../../../src/transport/transport.js";
import { type CannedRestServer, startCannedRestServer } from "../../support/canned-rest-server.js";
import {
  bodyOf,
  cannedAnswer,
  isRefused,
  lookExchanges,
  type RecordedAnswer,
  type RestExchange,
  read,
  recordedMetadata,
  specOf,
} from "./golden-exchanges.js";

const errorExchanges = read<RestExchange>("errors-rest.json");

let server: CannedRestServer;
let client: PredictionClient;
beforeAll(async () => {
  server = await startCannedRestServer();
  client = new PredictionClient(server.url);
});
afterAll(async () => {
  await client.close();
  await server.close();
});

/** Let the server answer as recorded from now on. */
function replay(response: RecordedAnswer): void {
  server.seen.length = 0;
  server.answer = () => cannedAnswer(response);
}

/** A model's signatures as the real server described them. */
async function signaturesOf(model: string): Promise<Record<string, Signature>> {
  replay(recordedMetadata.get(model) as RecordedAnswer);
  return (await client.getModelMetadata(model)).signatures;
}

describe("metadata and status against recorded answers", () => {
  const asked = lookExchanges.filter(({ request }) => {
    const spec = specOf(request.target);
    return spec !== undefined && !isRefused(spec) && !request.target.endsWith(":predict");
  });

  it("covers all exchanges but those whose target no call produces", () => {
    const others = lookExchanges.filter((exchange) => !asked.includes(exchange));
    console.log(`golden metadata and status over REST: ${asked.length} run, ${others.length} whose target no call produces`);
    expect(others.map(({ id }) => id.replace(/^[^/]*\//, ""))).toEqual([
      ...["rest/no_model", "rest/no_model_slash", "rest/metadata_twice", "rest/upper_case", "rest/upper_case_metadata"],
      ...["path/query_get", "path/query_get_version", "path/fragment", "path/slash_get", "path/dot_segments"],
      ...["path/version_oversize_metadata", "path/escape_not_utf8", "path/raw_space", "path/raw_non_ascii", "path/v2", "path/v1"],
      ...["path/v1_slash", "path/root", "path/metrics_off", "path/absolute_form", "path/get_predict"],
      ...["metrics_after_one", "metrics_after_four", "cors/oversize", "cors/html_404"],
      ...["15_rest", "page", "query", "slash", "other_path", "other_path_default"],
    ]);
    expect(asked.length).toBe(58);
  });

  it.each(asked.map((exchange) => [exchange.id, exchange] as const))("%s", async (_, { request, response }) => {
    if (response === undefined) throw new Error("expected a recorded answer");
    const spec = specOf(request.target) as ModelSpec;
    replay(response);
    const method = /\/models\/.+\/metadata$/.test(request.target) ? "getModelMetadata" : "getModelStatus";
    const outcome = await client[method](spec).catch((error: unknown) => error);
    // A status request carries no label, because the server ignores it.
    const target = method === "getModelStatus" ? request.target.replace(/\/labels\/.*/, "") : request.target;
    expect(server.seen.map((seen) => `${seen.method} ${seen.target}`)).toEqual([`GET ${target.replace(/\/0+(?=[1-9])/, "/")}`]);
    const recorded = JSON.parse(response.body ?? "") as { error?: string; model_version_status: unknown };
    if (response.status !== 200) {
      expect(isServingError(outcome, "RpcError") && [outcome.code, outcome.serverMessage]).toEqual([
        response.status === 404 ? "NOT_FOUND" : "INVALID_ARGUMENT",
        recorded.error,
      ]);
    } else if (method === "getModelStatus") {
      const list = recorded.model_version_status as {
        version: string;
        state: string;
        status: { error_code: string; error_message: string };
      }[];
      expect(outcome).toEqual(
        list.map(({ version, state, status }) => ({
          version: BigInt(version),
          state,
          errorCode: status.error_code,
          errorMessage: status.error_message,
        })),
      );
    } else {
      const metadata = outcome as ModelMetadata;
      const listed = recorded as unknown as {
        model_spec: { version: string };
        metadata: { signature_def: { signature_def: Record<string, { inputs: object; outputs: object }> } };
      };
      expect(metadata.modelSpec).toEqual({ name: spec.name, version: BigInt(listed.model_spec.version) });
      const names = Object.keys(listed.metadata.signature_def.signature_def).filter((name) => name !== "__saved_model_init_op");
      expect(Object.keys(metadata.signatures)).toEqual(names);
      for (const name of names) {
        const definition = listed.metadata.signature_def.signature_def[name];
        expect(Object.keys(metadata.signatures[name]?.inputs ?? {})).toEqual(Object.keys(definition?.inputs ?? {}));
        expect(Object.keys(metadata.signatures[name]?.outputs ?? {})).toEqual(Object.keys(definition?.outputs ?? {}));
      }
    }
  });

  it("reads defaults, dims and dtypes", async () => {
    const signature = (await signaturesOf("signature_defaults")).serving_default;
    expect(signature?.methodName).toBe("tensorflow/serving/predict");
    expect(signature?.inputs.x).toEqual({ dtype: "float32", shape: [null, 2] });
    expect(signature?.inputs.offset?.default?.values).toEqual(Float32Array.of(1, -1));
    expect(signature?.inputs.scale).toMatchObject({ dtype: "float32", shape: [] });
    expect(signature?.inputs.scale?.default?.values).toEqual(Float32Array.of(2));
    const zoo = await signaturesOf("dtype_zoo");
    expect(
      Object.values(zoo)
        .flatMap(({ inputs }) => Object.values(inputs))
        .filter(({ dtype }) => !isDType(dtype)),
    ).toEqual([]);
    expect(zoo.half?.inputs.x?.dtype).toBe("float16");
    expect(zoo.double?.inputs.x?.dtype).toBe("float64");
  });
});

describe("errors against recorded answers", () => {
  const failed = errorExchanges.filter(
    ({ response, request }) => response?.headers !== undefined && response.status >= 400 && request.method !== "HEAD",
  );

  it("has recorded refusals", () => {
    expect(failed.length).toBe(155);
  });

  it.each(failed.map((exchange) => [exchange.id, exchange] as const))("%s", async (_, { response }) => {
    if (response === undefined) throw new Error("expected a recorded answer");
    replay(response);
    const error = await client.getModelStatus("m").catch((caught: unknown) => caught);
    if (!isServingError(error, "RpcError")) throw error;
    expect(statusCodes).toContain(error.code);
    const text = new TextDecoder().decode(bodyOf(response));
    if (text.startsWith("{")) {
      const { error: words } = JSON.parse(text) as { error: string };
      expect(error.serverMessage).toBe(words);
      expect(error.code).toBe(expectedCode(response.status, words));
    } else {
      expect(error.serverMessage).toContain(`HTTP ${response.status} `);
      expect(error.serverMessage).toContain(text.replace(/\s+/g, " ").trim().slice(0, 40));
      expect(error.code).toBe(response.status === 404 ? "UNIMPLEMENTED" : expectedCode(response.status, ""));
    }
  });

  /** What gRPC gives for the same fault. */
  function expectedCode(status: number, text: string): string {
    if (text.startsWith("Serving signature name:")) return "FAILED_PRECONDITION";
    const codes: Record<number, string> = {
      400: "INVALID_ARGUMENT",
      404: "NOT_FOUND",
      413: "RESOURCE_EXHAUSTED",
      501: "UNIMPLEMENTED",
      417: "UNKNOWN",
    };
    return codes[status] ?? `no code for ${status}`;
  }
});
