/** gRPC exchanges recorded from TensorFlow Serving 2.20.0: one entry for each request, whatever form the recording has. */
import { readFileSync } from "node:fs";
import { GetModelStatusRequest } from "../../../gen/tensorflow_serving/apis/get_model_status.js";
import type { StatusCode } from "../../../src/errors.js";

/** A request and what came back. */
export interface GoldenExchange {
  readonly id: string;
  readonly form?: "content" | "val" | "string_content";
  readonly request: GoldenRequest;
  readonly response: GoldenAnswer;
}

/** `bytes` are base64. */
export interface GoldenRequest {
  readonly method: string;
  readonly bytes: string;
}

/** `bytes` and `json` hold the same message; `bytes` is absent where it was too long to be kept. */
export interface GoldenAnswer {
  readonly code: StatusCode;
  readonly message: string;
  readonly bytes?: string;
  readonly json?: unknown;
}

/** An entry of a recorded file: one request, several at the same moment, or the steps of a scenario. */
interface Recording extends Omit<GoldenExchange, "request" | "response"> {
  readonly transport: "grpc" | "rest" | "process";
  readonly request: GoldenRequest & { readonly together?: readonly Omit<GoldenRequest, "method">[] };
  readonly response: GoldenAnswer & { readonly each?: readonly GoldenAnswer[] };
  readonly steps?: readonly Step[];
}

type Step =
  | { readonly do: "reload" | "call"; readonly note: string; readonly request: GoldenRequest; readonly response: GoldenAnswer }
  | { readonly do: "settle"; readonly note: string; readonly status: Readonly<Record<string, GoldenAnswer>> }
  | { readonly do: "files" };

/** The gRPC exchanges of a recorded file, in its order. */
export function grpcExchanges(file: string): GoldenExchange[] {
  const text = readFileSync(new URL(`../../fixtures/golden/${file}.json`, import.meta.url), "utf8");
  const { exchanges } = JSON.parse(text) as { exchanges: Recording[] };
  return exchanges.filter(({ transport }) => transport === "grpc").flatMap(exchangesOf);
}

/** Bytes as they were on the wire. */
export function bytesOf(base64 = ""): Uint8Array {
  return new Uint8Array(Buffer.from(base64, "base64"));
}

function exchangesOf(recording: Recording): GoldenExchange[] {
  const { id, request, response, steps } = recording;
  if (steps !== undefined) return steps.flatMap((step, index) => exchangesOfStep(id, step, index));
  if (request.together === undefined || response.each === undefined) return [recording];
  return request.together.map(({ bytes }, index) => ({
    id: `${id} call ${index}`,
    request: { method: request.method, bytes },
    response: response.each?.[index] as GoldenAnswer,
  }));
}

function exchangesOfStep(id: string, step: Step, index: number): GoldenExchange[] {
  if (step.do === "files") return [];
  const title = `${id} step ${index}: ${step.note}`;
  if (step.do !== "settle")
    return step.request.method.startsWith("/") ? [{ id: title, request: step.request, response: step.response }] : [];
  // Of a look at the status only the answer was recorded.
  return Object.entries(step.status).map(([name, response]) => {
    const bytes = Buffer.from(GetModelStatusRequest.encode(GetModelStatusRequest.fromPartial({ modelSpec: { name } })).finish());
    const request = { method: "/tensorflow.serving.ModelService/GetModelStatus", bytes: bytes.toString("base64") };
    return { id: `${title}, ${name}`, request, response };
  });
}
