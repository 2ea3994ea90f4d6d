/** The address grammar: what a client may be pointed at. */
import { describe } from "../tensor/values.js";

/** Where a client connects to, and with which transport. */
export type Target = GrpcTarget | RestTarget;

/** A gRPC server. */
export interface GrpcTarget {
  readonly transport: "grpc";
  /** `host:port` or `unix:/path`. */
  readonly target: string;
  /** Stands before the path of every method; absent where there is none. */
  readonly prefix?: string;
  /** Whether connections are encrypted; absent where the target leaves that to the options. */
  readonly tls?: boolean;
}

/** A REST server. */
export interface RestTarget {
  readonly transport: "rest";
  /** `http://host:port` or `https://host:port`, with the prefix path where there is one. */
  readonly url: string;
  /** Whether connections are encrypted; absent where the target leaves that to the options. */
  readonly tls?: boolean;
}

/** What a client was pointed at, all of it over one transport. */
export type Destination =
  | { readonly transport: "grpc" | "rest" /** One server, or the replicas of one. */; readonly targets: readonly Target[] }
  | { readonly transport: "grpc" /** Every address of the name. */; readonly name: { readonly host: string; readonly port: number } };

/** A destination of which it is settled whether connections are encrypted, the same for all its targets. */
export type SettledDestination = Destination & { readonly tls: boolean };

/** Ports TensorFlow Serving opens by default; it is proxies that speak TLS. */
const defaultPorts = { grpc: 8500, rest: 8501, tls: 443 } as const;

const forms =
  '"host:8500", "grpc://host:8500", "grpcs://host", "unix:/path", "dns:///host:8500", "http://host:8501" or "https://host/prefix"';

/**
 * What a target string, or a list of them, points at.
 *
 * @throws TypeError if a string follows no form of the grammar, or the list is empty or mixes gRPC and REST.
 * @throws RangeError if a port is not a whole number from 1 to 65535.
 */
export function parseDestination(to: string | readonly string[]): Destination {
  if (typeof to === "string") return isDns(to) ? parseDns(to) : destinationOf([parseTarget(to)]);
  return destinationOf(
    to.map((text: unknown, index) => {
      if (typeof text !== "string") throw new TypeError(`targets[${index}]: expected a string, got ${describe(text)}`);
      return parseTarget(text);
    }),
  );
}

/** The destination that is these targets, of which each counts once. */
export function destinationOf(targets: readonly Target[]): Destination {
  const [first, ...others] = targets;
  if (first === undefined) throw new TypeError("targets: expected at least one, got an empty array");
  const other = others.find(({ transport }) => transport !== first.transport);
  if (other !== undefined) {
    throw new TypeError(
      `targets: expected replicas over one transport, got ${addressOf(first)} over ${first.transport} and ${addressOf(other)} over ${other.transport}`,
    );
  }
  return { transport: first.transport, targets: [...new Map(targets.map((target) => [locationOf(target), target])).values()] };
}

/**
 * The destination with TLS where it is asked for: by the schemes, or by the option for targets whose form leaves it open.
 *
 * @param withTls - Whether the option `tls` is given.
 * @throws TypeError if the option contradicts a scheme, or some of the targets are to be reached over TLS and others are not.
 */
export function settleTls(destination: Destination, withTls: boolean): SettledDestination {
  if ("name" in destination) return { ...destination, tls: withTls };
  const targets = destination.targets.map((target) => settledTarget(target, withTls));
  const isSecure = (target: Target) => target.tls === true;
  const [secure, plain] = [targets.find(isSecure), targets.find((target) => !isSecure(target))];
  if (secure !== undefined && plain !== undefined) {
    throw new TypeError(
      `targets: expected replicas all with TLS or all without, got ${addressOf(secure)} with it and ${addressOf(plain)} without`,
    );
  }
  return { ...destination, targets, tls: secure !== undefined };
}

function settledTarget(target: Target, withTls: boolean): Target {
  if (withTls && target.tls === false) {
    const [scheme, plain] = target.transport === "grpc" ? ["grpcs", "grpc"] : ["https", "http"];
    throw new TypeError(`target ${addressOf(target)}: option tls goes with "${scheme}://", got "${plain}://"`);
  }
  const tls = target.tls ?? withTls;
  return target.transport === "grpc"
    ? { ...target, tls }
    : { ...target, tls, url: tls ? target.url.replace(/^http:/, "https:") : target.url };
}

/** A target as it stands in errors: `host:port` with the prefix path where there is one, or `unix:/path`. */
export function addressOf(target: Target): string {
  if (target.transport === "grpc") return `${target.target}${target.prefix ?? ""}`;
  const { host, pathname } = new URL(target.url);
  return `${host}${pathname.replace(/\/+$/, "")}`;
}

/** Tells targets from each other. */
function locationOf(target: Target): string {
  return target.transport === "grpc" ? `${target.tls} ${target.target}${target.prefix ?? ""}` : target.url;
}

/** Where a destination is, in one line. */
export function formatDestination(destination: Destination): string {
  if ("targets" in destination) return destination.targets.map(addressOf).join(",");
  return `dns:///${hostAndPort(destination.name.host, destination.name.port)}`;
}

/** Host and port in one string, IPv6 addresses in brackets. */
export function hostAndPort(host: string, port: number): string {
  return `${isIPv6(host) ? `[${host}]` : host}:${port}`;
}

/**
 * The target behind a string such as `localhost:8500`, `grpcs://host/prefix`, `unix:/run/tf.sock` or `http://host:8501/prefix`.
 *
 * @throws TypeError if the string follows no form of the grammar.
 * @throws RangeError if the port is not a whole number from 1 to 65535.
 */
export function parseTarget(text: string): Target {
  if (isDns(text)) throw new TypeError(`target ${show(text)}: dns:/// stands for several addresses itself, pass it alone`);
  if (/^unix:/i.test(text)) return { transport: "grpc", target: parseUnix(text) };
  const [, scheme, rest] = /^(?:([a-z][a-z0-9+.-]*):\/\/)?(.*)$/is.exec(text) as unknown as [string, string | undefined, string];
  switch (scheme?.toLowerCase()) {
    case undefined:
      return { transport: "grpc", target: parseBare(text) };
    case "grpc":
      return { ...parseGrpc(text, rest, defaultPorts.grpc), tls: false };
    case "grpcs":
      return { ...parseGrpc(text, rest, defaultPorts.tls), tls: true };
    case "http":
      return { transport: "rest", url: `http://${parseWithPrefix(text, rest, defaultPorts.rest).join("")}`, tls: false };
    case "https":
      return { transport: "rest", url: `https://${parseWithPrefix(text, rest, defaultPorts.tls).join("")}`, tls: true };
    default:
      throw new TypeError(`target ${show(text)}: unknown scheme "${scheme}", expected ${forms}`);
  }
}

/**
 * The target behind host and port.
 *
 * @throws TypeError if the host is empty or more than a host name or address.
 * @throws RangeError if the port is not a whole number from 1 to 65535.
 */
export function targetFromHost(host: string, port: number, transport: "grpc" | "rest"): Target {
  const what = `host ${show(host)}`;
  if (host.includes("@")) throw new TypeError(`${what}: ${noCredentials}`);
  if (host.includes("://")) throw new TypeError(`${what}: expected a host name without a scheme; a target string takes no port argument`);
  if (host === "") throw new TypeError(`${what}: expected a host name or address, got an empty string`);
  checkHost(isIPv6(host) ? `[${host}]` : host, what);
  const address = hostAndPort(host, checkPort(port, what));
  return transport === "grpc" ? { transport, target: address } : { transport, url: `http://${address}` };
}

function parseUnix(text: string): string {
  const path = text.slice("unix:".length).replace(/^\/\/(?=\/)/, "");
  if (path === "" || path === "/" || path.startsWith("//")) {
    throw new TypeError(`target ${show(text)}: expected the path of a socket after "unix:"`);
  }
  return `unix:${path}`;
}

function isDns(text: string): boolean {
  return /^dns:\/\//i.test(text);
}

function parseDns(text: string): Destination {
  const [, rest] = /^dns:\/\/\/(.*)$/i.exec(text) ?? [];
  if (rest === undefined) throw new TypeError(`target ${show(text)}: expected "dns:///host:8500", without a name server`);
  const { address, path } = parseAuthority(text, rest, defaultPorts.grpc);
  if (path !== "") throw new TypeError(`target ${show(text)}: expected no path, got "${path}"`);
  const { hostname, port } = new URL(`tcp://${address}`);
  return { transport: "grpc", name: { host: hostname.replace(/^\[|\]$/g, ""), port: Number(port) } };
}

function parseBare(text: string): string {
  const { address, path } = parseAuthority(text, text, defaultPorts.grpc);
  if (path !== "" && path !== "/")
    throw new TypeError(`target ${show(text)}: expected a scheme before a host with a path, such as "grpc://"`);
  return address;
}

function parseGrpc(text: string, rest: string, defaultPort: number): GrpcTarget {
  const [target, prefix] = parseWithPrefix(text, rest, defaultPort);
  return { transport: "grpc", target, ...(prefix === "" ? {} : { prefix }) };
}

/** `host:port` and the prefix path, empty or with a slash in front and none behind. */
function parseWithPrefix(text: string, rest: string, defaultPort: number): readonly [address: string, prefix: string] {
  const { address, path } = parseAuthority(text, rest, defaultPort);
  if (!URL.canParse(`http://${address}${path}`)) throw new TypeError(`target ${show(text)}: expected a URL, got "${address}${path}"`);
  return [address, new URL(`http://${address}${path}`).pathname.replace(/\/+$/, "")];
}

/** `host[:port][/path]`, with nothing else that URLs can have. */
function parseAuthority(text: string, rest: string, defaultPort: number): { address: string; path: string } {
  const what = `target ${show(text)}`;
  const slash = rest.indexOf("/");
  const authority = slash < 0 ? rest : rest.slice(0, slash);
  const path = slash < 0 ? "" : rest.slice(slash);
  if (rest.includes("@")) throw new TypeError(`${what}: ${noCredentials}`);
  if (/[?#]/.test(rest)) throw new TypeError(`${what}: expected neither a query nor a fragment`);
  if (/\s/.test(rest)) throw new TypeError(`${what}: expected no white space`);
  if (isIPv6(authority)) throw new TypeError(`${what}: expected an IPv6 address in brackets, such as "[${authority}]:${defaultPort}"`);
  const [, host, port] = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(authority) ?? [];
  if (host === undefined) throw new TypeError(`${what}: expected ${forms}`);
  if (host === "") throw new TypeError(`${what}: expected a host name or address, got none`);
  checkHost(host, what);
  if (port !== undefined && !/^\d+$/.test(port)) {
    throw new RangeError(`${what}: expected the port to be a whole number from 1 to 65535, got "${port}"`);
  }
  return { address: `${host}:${port === undefined ? defaultPort : checkPort(Number(port), what)}`, path };
}

const noCredentials = "credentials in a target are not supported, pass them as metadata";

/** A target as it stands in messages, without what may be a password in it: all before the last @, and a query. */
function show(text: string): string {
  const [, scheme = "", rest = ""] = /^([a-z][a-z0-9+.-]*:\/\/)?(.*)$/is.exec(text.replace(/[?#].*$/s, "?***")) ?? [];
  return JSON.stringify(scheme + rest.replace(/^.*@/s, "***@"));
}

/** Whether a text is an IPv6 address, without brackets. The first time Node is asked takes 4 ms, so it is asked only for what may be one. */
function isIPv6(text: string): boolean {
  const hasTwoColons = text.indexOf(":") !== text.lastIndexOf(":");
  return hasTwoColons && process.getBuiltinModule("node:net").isIPv6(text);
}

function checkHost(host: string, what: string): void {
  const valid = host.startsWith("[") ? host.endsWith("]") && isIPv6(host.slice(1, -1)) : /^[^\s/:?#@[\]\\]+$/.test(host);
  if (!valid) throw new TypeError(`${what}: expected a host name or address, got "${host}"`);
}

function checkPort(port: number, what: string): number {
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    throw new RangeError(`${what}: expected the port to be a whole number from 1 to 65535, got ${port}`);
  }
  return port;
}
