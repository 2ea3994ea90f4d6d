/** What gRPC peers do wrong. */
import type { FaultCase } from "./fault-case.js";
import { grpcConnectionCases } from "./grpc-connection-cases.js";
import { grpcMessageCases } from "./grpc-message-cases.js";
import { grpcStreamCases } from "./grpc-stream-cases.js";

/** Faults over HTTP/2: of connections, of calls, and of messages in answers that are otherwise good. */
export const grpcCases: readonly FaultCase[] = [...grpcConnectionCases, ...grpcStreamCases, ...grpcMessageCases];
