/** The one place that loads transports, so that importing the package loads none of them. */
import type { TlsCredentials } from "../transport/tls.js";
import type { Transport } from "../transport/transport.js";
import type { ClientSettings } from "./options.js";
import { hostAndPort, type SettledDestination, type Target } from "./target.js";

/** Makes the transport to one of a destination's servers. */
export type OpenTransport = (target: Target) => Transport;

/** What makes the transports to a destination, with the settings that concern them; the module is loaded when first needed. */
export async function loadTransport(destination: SettledDestination, settings: ClientSettings): Promise<OpenTransport> {
  const { keepaliveMs, maxResponseBytes, restGzipMinBytes, proxy } = settings;
  const tls = destination.tls ? await tlsCredentials(destination, settings) : undefined;
  if (destination.transport === "grpc") {
    const { createGrpcTransport } = await import("../transport/grpc/transport.js");
    const authority = settings.authority ?? nameOf(destination);
    return (target) => createGrpcTransport({ ...grpcTarget(target), authority, keepaliveMs, maxResponseBytes, tls, proxy });
  }
  const { createRestTransport } = await import("../transport/rest/transport.js");
  return (target) => createRestTransport({ url: restUrl(target), gzipMinBytes: restGzipMinBytes, maxResponseBytes, tls, proxy });
}

/** One for all servers of a client, so that files are read once. */
async function tlsCredentials(destination: SettledDestination, { tls = {} }: ClientSettings): Promise<TlsCredentials> {
  const { createTlsCredentials } = await import("../transport/tls.js");
  const name = "name" in destination ? destination.name.host : undefined;
  return createTlsCredentials({ ...tls, serverName: tls.serverName ?? name });
}

/** Servers, and proxies before them, are told the name that was asked for, not which of its addresses was picked. */
function nameOf(destination: SettledDestination): string | undefined {
  return "name" in destination ? hostAndPort(destination.name.host, destination.name.port) : undefined;
}

function grpcTarget(target: Target): { target: string; prefix?: string | undefined } {
  if (target.transport !== "grpc") throw new TypeError(`expected a target over gRPC, got ${target.url}`);
  return { target: target.target, prefix: target.prefix };
}

function restUrl(target: Target): string {
  if (target.transport !== "rest") throw new TypeError(`expected a target over REST, got ${target.target}`);
  return target.url;
}
