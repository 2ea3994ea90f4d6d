/** What a real model server was asked and what it answered: `test/fixtures/golden`. */
import { readFileSync } from "node:fs";

/** One answer over HTTP. */
export interface RestResponse {
  readonly status: number;
  readonly reason: string;
  readonly headers: readonly (readonly [string, string])[];
  /** A body that is not UTF-8 is base64, one over 100 KB is only counted. */
  readonly body?: string;
  readonly body_b64?: string;
  readonly body_length?: number;
}

/** What a raw request writes to its socket, one after another. */
export type RawPart = { readonly text: string } | { readonly b64: string } | { readonly pause_ms: number };

/** One recorded exchange, as far as the tests look at it. */
export interface Exchange {
  readonly id: string;
  readonly model: string | null;
  readonly transport: string;
  readonly depends_on_model: boolean;
  readonly tolerance?: number;
  readonly transport_text?: string;
  readonly compare?: string;
  readonly server?: RecordedServer;
  readonly request: {
    readonly method: string;
    readonly target?: string;
    readonly headers?: readonly (readonly [string, string])[];
    readonly body?: string;
    readonly body_b64?: string;
    readonly bytes?: string;
    readonly metadata?: readonly (readonly [string, string | { readonly b64: string }])[];
    readonly timeout_ms?: number;
    /** Bytes written to the socket, in place of a method and a target. */
    readonly raw?: readonly RawPart[];
    /** Calls sent at the same moment. */
    readonly together?: readonly { readonly bytes: string }[];
    readonly model_config_file?: string;
    readonly batching_parameters?: string;
    readonly flags?: readonly string[];
  };
  readonly response: RestResponse & {
    readonly code: string;
    readonly message?: string;
    readonly message_b64?: string;
    readonly bytes?: string;
    readonly length?: number;
    /** Of a raw request. */
    readonly answers?: readonly RestResponse[];
    readonly connection?: "open" | "closed";
    /** Of calls sent together. */
    readonly each?: readonly { readonly code: string; readonly message: string; readonly json?: unknown }[];
    /** Lines of the metrics page. */
    readonly lines?: readonly string[];
    readonly serving_lines?: readonly string[];
    /** Of a process: what it printed. */
    readonly error?: string | null;
    readonly text?: string;
  };
  /** Of a scenario. */
  readonly steps?: readonly unknown[];
}

/** How the recorded server was started, where it was not the main one. */
export interface RecordedServer {
  readonly flags?: readonly string[];
  readonly models?: readonly string[];
  readonly config?: string;
  readonly batching_parameters?: string;
  readonly monitoring_config?: string;
}

/** The exchanges of one recorded file. */
export function exchanges(file: string): readonly Exchange[] {
  return readGolden<{ exchanges: Exchange[] }>(`${file}.json`).exchanges;
}

/** The content of a file of the recordings. */
export function readGolden<T>(path: string): T {
  return JSON.parse(readFileSync(new URL(`../fixtures/golden/${path}`, import.meta.url), "utf8")) as T;
}

/** The request of a REST exchange, byte for byte. */
export function restRequest({ request }: Exchange): Buffer {
  const body = request.body_b64 === undefined ? Buffer.from(request.body ?? "") : Buffer.from(request.body_b64, "base64");
  const head = [`${request.method} ${request.target} HTTP/1.1`, ...(request.headers ?? []).map(([name, value]) => `${name}: ${value}`)];
  return Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n`, "latin1"), body]);
}
