/** `grpc.health.v1.Health` as the real server has it: always SERVING, under short names of its services. */
import { BinaryReader } from "@bufbuild/protobuf/wire";
import {
  type handleServerStreamingCall,
  type handleUnaryCall,
  type Server,
  type ServerUnaryCall,
  type ServerWritableStream,
  status,
} from "@grpc/grpc-js";
import { onAbort } from "../deadline.js";
import { decodeUtf8 } from "./strict-utf8.js";

/** The server as a whole and its services, without their package. */
const servedNames: ReadonlySet<string> = new Set(["", "ModelService", "PredictionService"]);

/** Numbers of `HealthCheckResponse.ServingStatus`. */
const servingStatuses = { serving: 1, serviceUnknown: 3 } as const;

interface HealthCheck {
  readonly service: string;
}

type HealthCall = ServerUnaryCall<HealthCheck, number> | ServerWritableStream<HealthCheck, number>;

/**
 * Add the service.
 *
 * @param hold - Resolves when a call may be answered.
 * @param closing - Ends watches.
 */
export function addHealthService(server: Server, hold: (call: HealthCall) => Promise<void>, closing: AbortSignal): void {
  const check: handleUnaryCall<HealthCheck, number> = async (call, callback) => {
    await hold(call);
    if (servedNames.has(call.request.service)) callback(null, servingStatuses.serving);
    else callback({ code: status.NOT_FOUND, details: "service name unknown" });
  };
  const watch: handleServerStreamingCall<HealthCheck, number> = async (call) => {
    await hold(call);
    if (call.cancelled) return;
    call.write(servedNames.has(call.request.service) ? servingStatuses.serving : servingStatuses.serviceUnknown);
    call.once(
      "cancelled",
      onAbort(closing, () => call.end()),
    );
  };
  server.register("/grpc.health.v1.Health/Check", check, encodeResponse, decodeRequest, "unary");
  server.register("/grpc.health.v1.Health/Watch", watch, encodeResponse, decodeRequest, "serverStream");
}

/** `HealthCheckRequest`: the name of the service is field 1. */
function decodeRequest(bytes: Buffer): HealthCheck {
  const reader = new BinaryReader(bytes, decodeUtf8);
  let service = "";
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1) service = reader.string();
    else reader.skip(wireType);
  }
  return { service };
}

/** `HealthCheckResponse`: the status is field 1. */
function encodeResponse(servingStatus: number): Buffer {
  return Buffer.of(0x08, servingStatus);
}
