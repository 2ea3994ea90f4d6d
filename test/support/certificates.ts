/** Certificates for tests, made anew for each run, and servers that show them. */
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { TLSSocket } from "node:tls";
import { Server as GrpcServer, ServerCredentials, type ServerUnaryCall } from "@grpc/grpc-js";
import { generate, type SelfsignedOptions } from "selfsigned";

/** A certificate and its private key, as PEM. */
export interface Identity {
  readonly cert: string;
  readonly key: string;
}

/** Who is known to whom in a test. */
export interface Certificates {
  /** Signs all below but those that are others' or nobody's. */
  readonly ca: Identity;
  /** For localhost and 127.0.0.1. */
  readonly server: Identity;
  /** For localhost, not its address. */
  readonly localhostOnly: Identity;
  readonly expired: Identity;
  /** For other.example. */
  readonly wrongHost: Identity;
  /** For localhost, signed by itself. */
  readonly selfSigned: Identity;
  readonly client: Identity;
  /** Another client, `client2`. */
  readonly client2: Identity;
  readonly otherCa: Identity;
  /** As `server`, signed by `otherCa`. */
  readonly otherServer: Identity;
}

type AltNames = { readonly type: 1 | 2 | 6 | 7; readonly value?: string; readonly ip?: string }[];

const localhost: AltNames = [
  { type: 2, value: "localhost" },
  { type: 7, ip: "127.0.0.1" },
];

async function identity(name: string, options: SelfsignedOptions): Promise<Identity> {
  const attributes = [{ name: "commonName", value: name }];
  const { cert, private: key } = await generate(attributes, { keyType: "ec", algorithm: "sha256", ...options });
  return { cert, key };
}

function authority(name: string): Promise<Identity> {
  return identity(name, {
    extensions: [
      { name: "basicConstraints", cA: true, critical: true },
      { name: "keyUsage", keyCertSign: true, cRLSign: true, critical: true },
    ],
  });
}

function signedBy(by: Identity, name: string, altNames: AltNames, options: SelfsignedOptions = {}): Promise<Identity> {
  return identity(name, {
    ca: by,
    extensions: [
      { name: "basicConstraints", cA: false },
      { name: "extKeyUsage", serverAuth: true, clientAuth: true },
      { name: "subjectAltName", altNames },
    ],
    ...options,
  });
}

/** All certificates that tests take, in a tenth of a second. */
export async function makeCertificates(): Promise<Certificates> {
  const [ca, otherCa] = await Promise.all([authority("test authority"), authority("other authority")]);
  const years = (year: number) => new Date(`${year}-01-01`);
  return {
    ca,
    otherCa,
    server: await signedBy(ca, "localhost", localhost),
    localhostOnly: await signedBy(ca, "localhost", localhost.slice(0, 1)),
    expired: await signedBy(ca, "localhost", localhost, { notBeforeDate: years(2020), notAfterDate: years(2021) }),
    wrongHost: await signedBy(ca, "other.example", [{ type: 2, value: "other.example" }]),
    selfSigned: await identity("localhost", { extensions: [{ name: "subjectAltName", altNames: localhost }] }),
    client: await signedBy(ca, "client", [{ type: 2, value: "client" }]),
    client2: await signedBy(ca, "client2", [{ type: 2, value: "client2" }]),
    otherServer: await signedBy(otherCa, "localhost", localhost),
  };
}

/** A call as a server over TLS saw it. */
export interface SecureCall {
  readonly path: string;
  /** Common name in the client's certificate, where it showed one. */
  readonly client: string | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
}

/** A running server over TLS that answers GetModelStatus with no versions. */
export interface SecureServer {
  readonly port: number;
  readonly calls: readonly SecureCall[];
  close(): Promise<void>;
}

/** What {@link startSecureGrpc} and {@link startSecureRest} serve with. */
export interface SecureServerOptions extends Identity {
  /** Certificate of the authority that clients' certificates have to come from. @defaultValue clients need none */
  readonly clientCa?: string | undefined;
  /** @defaultValue a free one */
  readonly port?: number;
  /** Path of a socket to listen on instead. */
  readonly path?: string;
  /** Stands before the path of the method. */
  readonly prefix?: string;
}

const identityOf = (bytes: Buffer) => bytes;
const codec = {
  requestSerialize: identityOf,
  requestDeserialize: identityOf,
  responseSerialize: identityOf,
  responseDeserialize: identityOf,
} as const;

/** A gRPC server over TLS. */
export async function startSecureGrpc(options: SecureServerOptions): Promise<SecureServer> {
  const calls: SecureCall[] = [];
  const server = new GrpcServer();
  const path = `${options.prefix ?? ""}/tensorflow.serving.ModelService/GetModelStatus`;
  server.addService(
    { getModelStatus: { path, requestStream: false, responseStream: false, ...codec } },
    {
      getModelStatus(call: ServerUnaryCall<Buffer, Buffer>, callback: (error: null, value: Buffer) => void) {
        const [client] = [call.getAuthContext().sslPeerCertificate?.subject?.CN].flat();
        calls.push({ path: call.getPath(), client, headers: call.metadata.getMap() });
        callback(null, Buffer.alloc(0));
      },
    },
  );
  const pair = { private_key: Buffer.from(options.key), cert_chain: Buffer.from(options.cert) };
  const { clientCa } = options;
  const credentials = ServerCredentials.createSsl(clientCa === undefined ? null : Buffer.from(clientCa), [pair], clientCa !== undefined);
  const address = options.path === undefined ? `127.0.0.1:${options.port ?? 0}` : `unix:${options.path}`;
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(address, credentials, (error, bound) => (error === null ? resolve(bound) : reject(error)));
  });
  // Without a GOAWAY a client may make a call on a connection that has ended.
  const close = () => new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
  return { port, calls, close };
}

/** A REST server over TLS, as a proxy is before the model server. */
export async function startSecureRest(options: SecureServerOptions): Promise<SecureServer> {
  const calls: SecureCall[] = [];
  const { cert, key, clientCa } = options;
  const needsClient = clientCa !== undefined;
  const settings = { cert, key, requestCert: needsClient, rejectUnauthorized: needsClient, ...(needsClient ? { ca: clientCa } : {}) };
  const server = createServer(settings, (request, response) => {
    const path = request.url ?? "";
    const [client] = [(request.socket as TLSSocket).getPeerCertificate()?.subject?.CN].flat();
    calls.push({ path, client, headers: request.headers });
    response.setHeader("content-type", "application/json");
    response.end('{"model_version_status": []}');
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port ?? 0, "127.0.0.1", resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    calls,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
