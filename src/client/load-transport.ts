/** The one place that loads transports, so that importing the package loads none of them. */
import type { Transport } from "../transport/transport.js";
import type { ClientSettings } from "./options.js";
import type { Target } from "./target.js";

/** Makes the transport to one server, by what `locationOf` says of its target. */
export type OpenTransport = (location: string) => Transport;

/**
 * What makes transports of one kind, with the settings that concern them; the module is loaded when first needed.
 *
 * @param name - What servers are told as the host (`:authority`) over gRPC unless the settings say otherwise. @defaultValue their address
 */
export async function loadTransport(kind: Target["transport"], settings: ClientSettings, name?: string): Promise<OpenTransport> {
  const { authority = name, keepaliveMs, maxResponseBytes, restGzipMinBytes } = settings;
  if (kind === "grpc") {
    const { createGrpcTransport } = await import("../transport/grpc/transport.js");
    return (target) => createGrpcTransport({ target, authority, keepaliveMs, maxResponseBytes });
  }
  const { createRestTransport } = await import("../transport/rest/transport.js");
  return (url) => createRestTransport({ url, gzipMinBytes: restGzipMinBytes, maxResponseBytes });
}
