/** What calls over REST come to when the peer is at fault, and the cases in which they do. */
import type { StatusCode } from "../../src/index.js";
import type { FaultCase, FaultExpectation } from "./fault-case.js";
import { afterMetadata, type RawAnswer, type RawBody, type RawOutputs, sendsJson, startRestPeer } from "./rest-peer.js";

/** The connection ended before the answer did. */
export const lost = { name: "RpcError", code: "UNAVAILABLE", hint: /connection was lost/ } satisfies FaultExpectation;

/** Nothing, or not enough, came in time. */
export const late = { name: "RpcError", code: "DEADLINE_EXCEEDED", hint: /timeoutMs/ } satisfies FaultExpectation;

/** The answer is not HTTP/1.1. */
export const notHttp = {
  name: "RpcError",
  code: "INTERNAL",
  text: /the answer is not HTTP\/1\.1/,
  hint: /does not speak plain HTTP/,
} satisfies FaultExpectation;

/** The call went well. */
export const succeeds = { succeeds: true } satisfies FaultExpectation;

/** The answer is HTTP and has status 200, but is not TensorFlow Serving's. */
export function unexpected(text: RegExp): FaultExpectation {
  return {
    name: "RpcError",
    code: "INTERNAL",
    text: new RegExp(`unexpected answer: .*${text.source}`),
    hint: /not what TensorFlow Serving/,
  };
}

/** The answer has values that make no tensor of the signature. */
export function misfit(text: RegExp): FaultExpectation {
  return { name: "TensorError", code: "INVALID_ARGUMENT", text };
}

/** The answer has a status other than 200. */
export function refused(code: StatusCode, text: RegExp, hint?: RegExp): FaultExpectation {
  return { name: "RpcError", code, text, ...(hint && { hint }) };
}

/** What a case says beyond its name, answer and expectation. */
export interface CaseDetails extends Omit<FaultCase, "name" | "start" | "expected"> {
  /** What the signature's outputs are. @defaultValue floats called `y` */
  readonly outputs?: RawOutputs;
}

/** A predict call whose look-up of the signature goes well, and whose own request is answered like this. */
export function atPredict(name: string, answer: RawAnswer, expected: FaultExpectation, details: CaseDetails = {}): FaultCase {
  const { outputs, ...more } = details;
  return { name, start: () => startRestPeer({ answer: afterMetadata(answer, outputs) }), expected, ...more };
}

/** A call that is answered like this, be it a look-up or not. */
export function atCall(
  call: FaultCase["call"] & string,
  name: string,
  body: RawBody,
  expected: FaultExpectation,
  details: Omit<CaseDetails, "outputs" | "call"> = {},
): FaultCase {
  return { name, start: () => startRestPeer({ answer: sendsJson(body) }), expected, call, ...details };
}
