/** The servers behind a client: one, or several that share its calls. */
import type { EndpointList, EndpointSource, EndpointStatus } from "../middleware/balancer.js";
import { type LimitedTransport, withConcurrencyLimit } from "../middleware/concurrency-limit.js";
import type { Transport } from "../transport/transport.js";
import { loadTransport } from "./load-transport.js";
import type { ClientSettings } from "./options.js";
import { addressOf, type Destination, formatDestination, hostAndPort, locationOf } from "./target.js";

/** What calls reach below all middleware. */
export interface Servers {
  readonly transport: Transport;
  endpoints(): readonly EndpointStatus[];
}

/** The server behind a transport of the caller's own. */
export function ownServer(transport: Transport, { concurrency }: ClientSettings): Servers {
  const endpoint = { address: "", transport: "custom" };
  return oneServer(endpoint.address, withConcurrencyLimit(transport, endpoint, concurrency));
}

/** The servers a client was pointed at; nothing connects before the first call. */
export async function openServers(destination: Destination, settings: ClientSettings): Promise<Servers> {
  const { transport } = destination;
  // Servers, and proxies before them, are told the name that was asked for, not which of its addresses was picked.
  const name = "name" in destination ? hostAndPort(destination.name.host, destination.name.port) : undefined;
  const open = await loadTransport(transport, settings, name);
  const sourceOf = (address: string, location: string): EndpointSource => ({
    address,
    open: () => withConcurrencyLimit(open(location), { address, transport }, settings.concurrency),
  });
  if ("targets" in destination) {
    const endpoints = destination.targets.map((target) => sourceOf(addressOf(target), locationOf(target)));
    const [only, ...others] = endpoints;
    return only !== undefined && others.length === 0 ? oneServer(only.address, only.open()) : balanced({ endpoints }, transport);
  }
  const { host, port } = destination.name;
  const { resolveName } = await import("../middleware/resolve-name.js");
  const resolve = async () => {
    const addresses = await resolveName(host);
    return addresses.map((ip) => sourceOf(hostAndPort(ip, port), hostAndPort(ip, port)));
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
