/** The servers behind a client: one, or several that share its calls. */

import { withAttemptTimeout } from "../middleware/attempt-timeout.js";
import type { EndpointList } from "../middleware/balancer.js";
import { type LimitedEndpoint, type LimitedTransport, withConcurrencyLimit } from "../middleware/concurrency-limit.js";
import type { EndpointSource, EndpointStatus } from "../middleware/endpoint-pool.js";
import type { Transport } from "../transport/transport.js";
import { loadTransport } from "./load-transport.js";
import type { ClientSettings } from "./options.js";
import { addressOf, type Destination, formatDestination, hostAndPort, settleTls, type Target } from "./target.js";

/** What calls reach below all middleware. */
export interface Servers {
  readonly transport: Transport;
  endpoints(): readonly EndpointStatus[];
}

/**
 * The server behind a transport of the caller's own.
 *
 * @throws TypeError if the option `tls` is given, which it could not keep.
 */
export function ownServer(transport: Transport, settings: ClientSettings): Servers {
  if (settings.tls !== undefined) throw new TypeError("tls: expected a host or target beside this option, got a Transport of one's own");
  const endpoint = { address: "", transport: "custom" };
  return oneServer(endpoint.address, asSettled(transport, endpoint, settings));
}

/** A transport that keeps to what the settings say of each server. */
function asSettled(transport: Transport, endpoint: LimitedEndpoint, { retry, concurrency }: ClientSettings): LimitedTransport {
  const attemptTimeoutMs = retry === false ? undefined : retry.attemptTimeoutMs;
  const timed = attemptTimeoutMs === undefined ? transport : withAttemptTimeout(transport, attemptTimeoutMs, endpoint);
  return withConcurrencyLimit(timed, endpoint, concurrency);
}

/**
 * The servers a client was pointed at; nothing connects before the first call.
 *
 * @throws TypeError as {@link settleTls} does.
 */
export async function openServers(to: Destination, settings: ClientSettings): Promise<Servers> {
  const destination = settleTls(to, settings.tls !== undefined);
  const { transport } = destination;
  const open = await loadTransport(destination, settings);
  const sourceOf = (target: Target): EndpointSource => {
    const address = addressOf(target);
    return { address, open: () => asSettled(open(target), { address, transport }, settings) };
  };
  if ("targets" in destination) {
    const endpoints = destination.targets.map(sourceOf);
    const [only, ...others] = endpoints;
    return only !== undefined && others.length === 0 ? oneServer(only.address, only.open()) : balanced({ endpoints }, transport);
  }
  const { host, port } = destination.name;
  const { resolveName } = await import("../middleware/resolve-name.js");
  const resolve = async () => {
    const addresses = await resolveName(host);
    return addresses.map((ip) => sourceOf({ transport: "grpc", target: hostAndPort(ip, port) }));
  };
  return balanced({ resolve, name: formatDestination(destination) }, transport);
}

function oneServer(address: string, transport: LimitedTransport): Servers {
  return { transport, endpoints: () => [{ address, state: "ready", inFlight: transport.inFlight }] };
}

async function balanced(list: EndpointList, transport: "grpc" | "rest"): Promise<Servers> {
  const { balance } = await import("../middleware/balancer.js");
  const several = balance(list, { needsSignature: transport === "rest", transport });
  return { transport: several, endpoints: () => several.endpoints() };
}
