/** gRPC calls of raw bytes, since generated clients send only what their messages can hold. */
import { type Client, Metadata, type ServiceError, status } from "@grpc/grpc-js";

/** An answer as it came; `bytes` where the call succeeded. */
export interface RawGrpcAnswer {
  readonly code: string;
  readonly message: string;
  readonly bytes?: Buffer;
}

/** Call a method, `/package.Service/Method`. */
export function rawGrpc(
  client: Client,
  method: string,
  bytes: Uint8Array,
  timeoutMs = 5_000,
  headers: readonly (readonly [string, string | Buffer])[] = [],
): Promise<RawGrpcAnswer> {
  const metadata = new Metadata();
  for (const [name, value] of headers) metadata.add(name, value);
  return new Promise((resolve) => {
    const pass = (value: Buffer) => value;
    const options = { deadline: Date.now() + timeoutMs };
    client.makeUnaryRequest(method, pass, pass, Buffer.from(bytes), metadata, options, (error: ServiceError | null, answer) => {
      if (error === null) resolve({ code: "OK", message: "", ...(answer === undefined ? {} : { bytes: answer }) });
      else resolve({ code: status[error.code] ?? "", message: error.details });
    });
  });
}
