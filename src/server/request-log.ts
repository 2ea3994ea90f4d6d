/** What the embedded server was asked: one record for each call, for tests to look at and for faults to match. */
import type { ModelSpec } from "../model-spec.js";
import type { Transport } from "../transport/transport.js";

/** A method of the API, by its RPC name in camelCase. */
export type ServerMethod = Exclude<keyof Transport, "needsSignature" | "close">;

/** One call as it arrived, before the server looked whether it can answer it. */
export interface ServerRequest {
  /** Which port it came to. */
  readonly transport: "grpc" | "rest";
  /** What was called. */
  readonly method: ServerMethod;
  /** The model that was asked, for multiInference that of the first task; `undefined` where the request names none. */
  readonly model: string | undefined;
  /** The version asked for, where the request names one. */
  readonly version?: bigint;
  /** The label asked for, where the request names one. */
  readonly versionLabel?: string;
  /** The signature asked for, where the request names one. */
  readonly signatureName?: string;
  /** Headers by lower-case name, null prototype; several values of one name are joined by `, `, those of `-bin` keys are base64. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** How many requests are kept. */
const maxRequests = 1_000;

/** Adds a request to a log and forgets the oldest beyond 1,000. */
export function logRequest(log: ServerRequest[], request: ServerRequest): void {
  log.push(request);
  if (log.length > maxRequests) log.shift();
}

/** What a front knows of a call. */
export interface ReceivedCall {
  readonly transport: ServerRequest["transport"];
  readonly method: ServerMethod;
  /** Absent where the request has none; an empty name counts as none. */
  readonly spec: ModelSpec | undefined;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

/** The record of a call. */
export function serverRequest({ transport, method, spec, headers }: ReceivedCall): ServerRequest {
  const metadata: Record<string, string> = Object.create(null);
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) metadata[name] = typeof value === "string" ? value : value.join(", ");
  }
  const { name, version, versionLabel, signatureName } = spec ?? {};
  return {
    transport,
    method,
    model: name === "" ? undefined : name,
    ...(version === undefined ? {} : { version: BigInt(version) }),
    ...(versionLabel === undefined ? {} : { versionLabel }),
    ...(signatureName === undefined || signatureName === "" ? {} : { signatureName }),
    metadata,
  };
}
