/** The address grammar: what a client may be pointed at. */

/** Where a client connects to, and with which transport. */
export type Target =
  | { readonly transport: "grpc" /** `host:port` or `unix:/path`. */; readonly target: string }
  | { readonly transport: "rest" /** `http://host:port`, with the prefix path where there is one. */; readonly url: string };

/** Ports TensorFlow Serving opens by default. */
const defaultPorts = { grpc: 8500, rest: 8501 } as const;

const forms = '"host:8500", "grpc://host:8500", "unix:/path" or "http://host:8501/prefix"';

/** What is part of the grammar but not of this version, by the start of the target. */
const laterForms: readonly { text: RegExp; reason: string }[] = [
  { text: /^https:\/\//i, reason: "TLS is not supported in this version: use http://" },
  { text: /^grpcs:\/\//i, reason: "TLS is not supported in this version: use grpc://" },
  { text: /^dns:\/\//i, reason: "resolving a name to several addresses is not supported in this version: use grpc://" },
];

/**
 * The target behind a string such as `localhost:8500`, `grpc://host`, `unix:/run/tf.sock` or `http://host:8501/prefix`.
 *
 * @throws TypeError if the string follows no form of the grammar or one that this version does not support.
 * @throws RangeError if the port is not a whole number from 1 to 65535.
 */
export function parseTarget(text: string): Target {
  const later = laterForms.find((form) => form.text.test(text));
  if (later !== undefined) throw new TypeError(`target ${show(text)}: ${later.reason}`);
  if (/^unix:/i.test(text)) return { transport: "grpc", target: parseUnix(text) };
  const [, scheme, rest] = /^(?:([a-z][a-z0-9+.-]*):\/\/)?(.*)$/is.exec(text) as unknown as [string, string | undefined, string];
  switch (scheme?.toLowerCase()) {
    case undefined:
    case "grpc":
      return { transport: "grpc", target: parseGrpc(text, rest) };
    case "http":
      return { transport: "rest", url: parseHttp(text, rest) };
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
  const what = `host ${JSON.stringify(host)}`;
  if (host.includes("://")) throw new TypeError(`${what}: expected a host name without a scheme; a target string takes no port argument`);
  if (host === "") throw new TypeError(`${what}: expected a host name or address, got an empty string`);
  const name = isIPv6(host) ? `[${host}]` : host;
  checkHost(name, what);
  const address = `${name}:${checkPort(port, what)}`;
  return transport === "grpc" ? { transport, target: address } : { transport, url: `http://${address}` };
}

function parseUnix(text: string): string {
  const path = text.slice("unix:".length).replace(/^\/\/(?=\/)/, "");
  if (path === "" || path === "/" || path.startsWith("//")) {
    throw new TypeError(`target ${show(text)}: expected the path of a socket after "unix:"`);
  }
  return `unix:${path}`;
}

function parseGrpc(text: string, rest: string): string {
  const { address, path } = parseAuthority(text, rest, defaultPorts.grpc);
  if (path !== "" && path !== "/") {
    throw new TypeError(`target ${show(text)}: a path for gRPC is not supported in this version, got "${path}"`);
  }
  return address;
}

function parseHttp(text: string, rest: string): string {
  const { address, path } = parseAuthority(text, rest, defaultPorts.rest);
  const url = `http://${address}${path}`;
  if (!URL.canParse(url)) throw new TypeError(`target ${show(text)}: expected a URL, got "${url}"`);
  return url.replace(/\/+$/, "");
}

/** `host[:port][/path]`, with nothing else that URLs can have. */
function parseAuthority(text: string, rest: string, defaultPort: number): { address: string; path: string } {
  const what = `target ${show(text)}`;
  const slash = rest.indexOf("/");
  const authority = slash < 0 ? rest : rest.slice(0, slash);
  const path = slash < 0 ? "" : rest.slice(slash);
  if (authority.includes("@")) throw new TypeError(`${what}: credentials in a target are not supported, pass them as metadata`);
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

/** A target as it stands in messages, without a password that may be in it. */
function show(text: string): string {
  return JSON.stringify(text.replace(/[^/@]*@/, "***@"));
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
