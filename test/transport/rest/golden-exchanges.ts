/** REST exchanges recorded from TensorFlow Serving 2.20.0, and what of them the client can make. */
import { readFileSync } from "node:fs";
import { type ModelSpec, modelSpecFrom } from "../../../src/model-spec.js";
import type { CannedAnswer } from "../../support/canned-rest-server.js";

/** A recorded exchange, as far as the tests look at it; bodies that are not UTF-8 are base64. */
export interface RestExchange {
  id: string;
  transport: string;
  model: string;
  case?: string;
  tolerance?: number;
  compare?: string;
  request: { method: string; target: string; headers?: [string, string][]; body?: string; body_b64?: string };
  response?: RecordedAnswer;
}

/** `body_length` stands for a body that was too long to be kept. */
export interface RecordedAnswer {
  status: number;
  headers: [string, string][];
  body?: string;
  body_b64?: string;
  body_length?: number;
}

/** The exchanges of one recorded file. */
export function read<T>(file: string): T[] {
  const text = readFileSync(new URL(`../../fixtures/golden/${file}`, import.meta.url), "utf8");
  return (JSON.parse(text) as { exchanges: T[] }).exchanges;
}

/** Everything that was recorded over REST in files that are not all about Classify and Regress; requests in raw bytes are left out. */
export const restExchanges = ["predict-rest", "metadata-status", "errors-rest", "reload-lifecycle", "batching", "flags", "metrics"].flatMap(
  (file) =>
    read<RestExchange & { steps?: RestExchange[] }>(`${file}.json`)
      .flatMap(({ id, steps = [], ...exchange }) => [
        { ...exchange, id },
        ...steps.map((step, index) => ({
          ...step,
          id: `${id} step ${index}`,
          transport: step.request?.target === undefined ? "" : "rest",
        })),
      ])
      .filter(({ transport, request }) => transport === "rest" && request.target !== undefined),
);

/** Those that may be predicts. */
export const predictExchanges = restExchanges.filter(
  ({ request }) => request.method === "POST" && !/:(classify|regress)$/.test(request.target),
);

/** Those that may ask for metadata or a status. */
export const lookExchanges = restExchanges.filter(({ request }) => request.method === "GET" && request.body === undefined);

/** A body as bytes. */
export const bodyOf = (part: { readonly body?: string; readonly body_b64?: string }): Uint8Array =>
  part.body_b64 === undefined ? new TextEncoder().encode(part.body ?? "") : new Uint8Array(Buffer.from(part.body_b64, "base64"));

/** Metadata as the real server gave them, by model. */
export const recordedMetadata = new Map(
  restExchanges
    .filter(({ id }) => /\/rest\/(metadata_[a-z0-9_]+|odd_name_metadata)$/.test(id))
    .flatMap(({ request, response }) => {
      const name = /^\/v1\/models\/([^/]+)\/metadata$/.exec(request.target)?.[1];
      return name === undefined || response?.status !== 200 ? [] : [[decodeURIComponent(name), response] as const];
    }),
);

/** A recorded answer for a canned server. */
export function cannedAnswer(response: RecordedAnswer): CannedAnswer {
  const headers = Object.fromEntries(response.headers.filter(([name]) => name.toLowerCase() !== "content-length"));
  return { status: response.status, headers, body: bodyOf(response) };
}

/** The model that a recorded target names; undefined for targets no call of ours can produce. */
export function specOf(target: string): ModelSpec | undefined {
  const match = /^\/v1\/models\/([^/:]+)(?:\/versions\/(\d+)|\/labels\/([^/:]+))?(?::predict|\/metadata)?$/.exec(target);
  const [, name, version, label] = match ?? [];
  if (name === undefined || !isEncoded(name) || (label !== undefined && !isEncoded(label))) return undefined;
  if (version !== undefined) return { name: decodeURIComponent(name), version: BigInt(version) };
  return { name: decodeURIComponent(name), ...(label === undefined ? {} : { versionLabel: decodeURIComponent(label) }) };
}

/** Whether a part of a target is percent-encoded as the client does it. */
function isEncoded(part: string): boolean {
  try {
    return encodeURIComponent(decodeURIComponent(part)) === part;
  } catch {
    // A URIError: bad escapes.
    return false;
  }
}

/** Whether the client itself refuses a model. */
export function isRefused(spec: ModelSpec): boolean {
  try {
    modelSpecFrom(spec);
    return false;
  } catch {
    // A RangeError: the client would throw it, too.
    return true;
  }
}
