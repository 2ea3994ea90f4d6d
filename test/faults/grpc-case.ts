/** Short forms for the cases of gRPC, most of which differ in one or two lines of script. */
import type { FaultCase, FaultExpectation } from "./fault-case.js";
import { goodResponse } from "./grpc-messages.js";
import { type ConnectionScript, type GrpcConnection, type GrpcStream, startGrpcPeer } from "./grpc-peer.js";

type Code = Extract<FaultExpectation, { code: unknown }>["code"];

/** What a case may have beside script and expectation. */
export type CaseOptions = Omit<FaultCase, "name" | "start" | "expected">;

/** A call that fails with a code. */
export function rpcError(code: Code, text?: RegExp, hint?: RegExp): FaultExpectation {
  return { name: "RpcError", code, ...(text === undefined ? {} : { text }), ...(hint === undefined ? {} : { hint }) };
}

/** An answer whose output is no tensor. */
export function tensorError(text: RegExp): FaultExpectation {
  return { name: "TensorError", code: "INVALID_ARGUMENT", text };
}

/** The call succeeds in spite of it. */
export const succeeds: FaultExpectation = { succeeds: true };

/** The call waits for what does not come. */
export const timedOut = rpcError("DEADLINE_EXCEEDED");

/**
 * The client ends what breaks HTTP/2, with GOAWAY. Of some of it Node 20 tells nobody, not even when the peer closes the
 * connection then: the call learns of it at its deadline.
 */
export const broken = rpcError(["UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED"]);

/** A deadline for calls that wait for it. */
export const soon: CaseOptions = { timeoutMs: 300 };

/** A peer that runs a script for each connection. */
export function onConnection(name: string, script: ConnectionScript, expected: FaultExpectation, options: CaseOptions = {}): FaultCase {
  return { name, start: () => startGrpcPeer(script), expected, ...options };
}

/** A peer that runs a script for each connection, once both sides have sent their SETTINGS. */
export function onHandshake(
  name: string,
  script: (connection: GrpcConnection) => unknown,
  expected: FaultExpectation,
  options: CaseOptions = {},
): FaultCase {
  return onConnection(
    name,
    async (connection) => {
      await connection.handshake();
      await script(connection);
    },
    expected,
    options,
  );
}

/** A peer that runs a script for each call, once it has the whole request. */
export function onCall(
  name: string,
  script: (stream: GrpcStream) => unknown,
  expected: FaultExpectation,
  options: CaseOptions = {},
): FaultCase {
  return onHandshake(
    name,
    async (connection) => {
      for (;;) await script(await connection.request());
    },
    expected,
    options,
  );
}

/** A peer that answers every call with success and these bytes as its message. */
export function onMessage(name: string, message: Uint8Array, expected: FaultExpectation, options: CaseOptions = {}): FaultCase {
  return onCall(name, (stream) => stream.headers().message(message).trailers(), expected, options);
}

/** A peer that does something else with the first call, and answers all others; the client's retries are as by default. */
export function onFirstCall(name: string, script: (stream: GrpcStream) => unknown): FaultCase {
  const start = () => {
    let calls = 0;
    return startGrpcPeer(async (connection) => {
      await connection.handshake();
      for (;;) {
        const stream = await connection.request();
        calls++;
        if (calls === 1) await script(stream);
        else answerWell(stream);
      }
    });
  };
  return { name, start, expected: succeeds, options: { retry: {} } };
}

/** A good answer to a predict call. */
export function answerWell(stream: GrpcStream): void {
  stream.headers().message(goodResponse).trailers();
}
