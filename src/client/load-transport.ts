/** The one place that loads transports, so that importing the package loads none of them. */
import type { Transport } from "../transport/transport.js";
import type { ClientSettings } from "./options.js";
import type { Target } from "./target.js";

/** The transport for a target, with the settings that concern it; its module is loaded when first needed. */
export async function loadTransport(target: Target, settings: ClientSettings): Promise<Transport> {
  const { authority, keepaliveMs, maxResponseBytes, restGzipMinBytes } = settings;
  if (target.transport === "grpc") {
    const { createGrpcTransport } = await import("../transport/grpc/transport.js");
    return createGrpcTransport({ target: target.target, authority, keepaliveMs, maxResponseBytes });
  }
  const { createRestTransport } = await import("../transport/rest/transport.js");
  return createRestTransport({ url: target.url, gzipMinBytes: restGzipMinBytes, maxResponseBytes });
}
