/** TLS and proxies over both transports: real servers, real certificates, real files. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer, type IncomingHttpHeaders } from "node:http";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { inspect } from "node:util";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import type { ClientOptions } from "../../src/client/options.js";
import { PredictionClient } from "../../src/client/prediction-client.js";
import { isServingError, type ServingError } from "../../src/errors.js";
import { startModelServer } from "../../src/server/model-server.js";
import { tensor } from "../../src/tensor/tensor.js";
import { createTlsCredentials, type TlsOptions } from "../../src/transport/tls.js";
import { eventually } from "../client/unanswering-peers.js";
import {
  type Certificates,
  type Identity,
  makeCertificates,
  type SecureServer,
  type SecureServerOptions,
  startSecureGrpc,
  startSecureRest,
} from "../support/certificates.js";
import { EchoTransport } from "../support/echo-transport.js";

let certificates: Certificates;
beforeAll(async () => {
  certificates = await makeCertificates();
});

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const token = "s3cr3t-token";

const transports = [
  { transport: "grpc", scheme: "grpcs", plain: "grpc", start: startSecureGrpc },
  { transport: "rest", scheme: "https", plain: "http", start: startSecureRest },
] as const;

/** Start one of the servers above; it ends with the test. */
async function serve(
  start: (options: SecureServerOptions) => Promise<SecureServer>,
  { cert, key }: Identity,
  options: Partial<SecureServerOptions> = {},
): Promise<SecureServer> {
  const server = await start({ cert, key, ...options });
  closers.push(() => server.close());
  return server;
}

function clientOf(to: string | readonly string[], options: ClientOptions = {}): PredictionClient {
  const client = new PredictionClient(to, { timeoutMs: 10_000, metadata: { authorization: token }, ...options });
  closers.push(() => client.close());
  return client;
}

const statusOver = (to: string | readonly string[], tls: TlsOptions, options: ClientOptions = {}) =>
  clientOf(to, { tls, ...options }).getModelStatus("m");

/** What the process is warned of until the test ends. */
function collectWarnings(): string[] {
  const warnings: string[] = [];
  const collect = ({ message }: Error) => warnings.push(message);
  process.on("warning", collect);
  closers.push(() => process.off("warning", collect));
  return warnings;
}

/** Every secret of a test as it would stand in a text. */
function secrets(): string[] {
  const keys = Object.values(certificates).map(({ key }: Identity) => key.split("\n")[1] ?? "");
  return [token, ...keys];
}

function expectNoSecrets(value: unknown): void {
  const text = inspect(value, { depth: 10, showHidden: true, maxStringLength: null, maxArrayLength: null });
  for (const secret of secrets()) expect(text).not.toContain(secret);
}

/** The error of a call, which holds no secret. */
async function errorOf(call: Promise<unknown>): Promise<ServingError> {
  const error: unknown = await call.then(
    () => new Error("expected a rejection"),
    (thrown: unknown) => thrown,
  );
  if (!isServingError(error)) throw error;
  expectNoSecrets(error);
  return error;
}

const failing = (code: string, retryable: boolean, hint: string) => ({ code, retryable, hint: expect.stringContaining(hint) });

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "tfserving-tls-"));
  closers.push(() => rmSync(path, { recursive: true }));
  return path;
}

/** Puts a file in the place of another at once, as tools that rotate certificates do. */
function replace(file: string, text: string): void {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

/** Files of a client, with the certificates that a test begins with. */
function files(ca: string, { cert, key }: Identity) {
  const path = folder();
  const paths = { ca: join(path, "ca.pem"), cert: join(path, "client.pem"), key: join(path, "client.key") };
  writeFileSync(paths.ca, ca);
  writeFileSync(paths.cert, cert);
  writeFileSync(paths.key, key);
  return { paths, tls: { ca: { file: paths.ca }, cert: { file: paths.cert }, key: { file: paths.key } } };
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(() => new Promise((resolve) => server.close(resolve)));
  return (server.address() as AddressInfo).port;
}

/** A port that answers the first bytes of every connection with some of its own, and ends it. */
function portThatAnswers(bytes: Uint8Array): Promise<number> {
  return listen(
    createServer((socket) => {
      socket.on("error", () => socket.destroy());
      socket.once("data", () => socket.end(bytes));
    }),
  );
}

describe.each(transports)("TLS over $transport", ({ transport, scheme, start }) => {
  it("takes PEM as text, as bytes and in a file", async () => {
    const server = await serve(start, certificates.server);
    const { cert } = certificates.ca;
    const { paths } = files(cert, certificates.client);
    for (const ca of [cert, Buffer.from(cert), { file: paths.ca }]) {
      expect(await statusOver(`${scheme}://localhost:${server.port}`, { ca })).toEqual([]);
    }
  });

  it("shows the client's certificate to a server that wants one", async () => {
    const ca = certificates.ca.cert;
    const server = await serve(start, certificates.server, { clientCa: ca });
    const { tls } = files(ca, certificates.client);
    const { cert, key } = certificates.client2;
    await statusOver(`${scheme}://localhost:${server.port}`, tls);
    await statusOver(`${scheme}://localhost:${server.port}`, { ca, cert: Buffer.from(cert), key });
    expect(server.calls.map(({ client }) => client)).toEqual(["client", "client2"]);
  });

  it("goes with host and port as with a target", async () => {
    const server = await serve(start, certificates.server);
    const client = new PredictionClient("localhost", server.port, { transport, tls: { ca: certificates.ca.cert } });
    closers.push(() => client.close());
    expect(await client.getModelStatus("m")).toEqual([]);
  });

  it("verifies an address against the addresses in the certificate", async () => {
    const server = await serve(start, certificates.server);
    expect(await statusOver(`${scheme}://127.0.0.1:${server.port}`, { ca: certificates.ca.cert })).toEqual([]);
  });

  it("verifies the name in serverName instead of the target's", async () => {
    const server = await serve(start, certificates.wrongHost);
    const tls = { ca: certificates.ca.cert, serverName: "other.example" };
    expect(await statusOver(`${scheme}://localhost:${server.port}`, tls)).toEqual([]);
  });

  it("puts the target's path before that of the method", async () => {
    const server = await serve(start, certificates.server, { prefix: "/models/eu" });
    await statusOver(`${scheme}://localhost:${server.port}/models/eu/`, { ca: certificates.ca.cert });
    expect(server.calls[0]?.path).toMatch(/^\/models\/eu\/(v1\/models\/m|tensorflow.serving.ModelService\/GetModelStatus)$/);
  });

  it("shares calls among replicas, whose files are read once", async () => {
    const servers = [await serve(start, certificates.server), await serve(start, certificates.server)];
    const client = clientOf(
      servers.map(({ port }) => `${scheme}://localhost:${port}`),
      { tls: { ca: certificates.ca.cert } },
    );
    await Promise.all(Array.from({ length: 8 }, () => client.getModelStatus("m")));
    expect(servers.map(({ calls }) => calls.length > 0)).toEqual([true, true]);
  });

  it("takes any certificate with insecureSkipVerify, and warns once", async () => {
    const servers = [await serve(start, certificates.selfSigned), await serve(start, certificates.expired)];
    const warnings = collectWarnings();
    const targets = servers.map(({ port }) => `${scheme}://localhost:${port}`);
    const client = clientOf(targets, { tls: { insecureSkipVerify: true } });
    await Promise.all(Array.from({ length: 8 }, () => client.getModelStatus("m")));
    expect(servers.map(({ calls }) => calls.length > 0)).toEqual([true, true]);
    await expect.poll(() => warnings.filter((text) => text.includes("insecureSkipVerify"))).toHaveLength(1);
  });

  it("holds no secret that inspecting the client would show", async () => {
    const server = await serve(start, certificates.server);
    const { cert, key } = certificates.client;
    const metadata = async () => ({ authorization: token });
    const client = clientOf(`${scheme}://localhost:${server.port}`, { tls: { ca: certificates.ca.cert, cert, key }, metadata });
    expectNoSecrets(client);
    await client.getModelStatus("m");
    expect(server.calls[0]?.headers["authorization"]).toBe(token);
    expectNoSecrets(client);
    expectNoSecrets(client.model("m"));
  });

  describe("with files that change", () => {
    /** A server that can be restarted, which ends all connections to it. */
    async function restartable(first: Identity, options: Partial<SecureServerOptions> = {}) {
      let server = await serve(start, first, options);
      const { port } = server;
      return {
        target: `${scheme}://localhost:${port}`,
        lastClient: () => server.calls.at(-1)?.client,
        async restart(next: Identity = first) {
          await server.close();
          server = await serve(start, next, { ...options, port });
        },
      };
    }

    it("trusts the new authority for the next connection", async () => {
      const server = await restartable(certificates.server);
      const { paths, tls } = files(certificates.ca.cert, certificates.client);
      const client = clientOf(server.target, { tls });
      await client.getModelStatus("m");
      await server.restart(certificates.otherServer);
      expect(await errorOf(client.getModelStatus("m"))).toMatchObject(failing("UNAVAILABLE", false, "tls.ca"));
      replace(paths.ca, certificates.otherCa.cert);
      expect(await client.getModelStatus("m")).toEqual([]);
    });

    it("shows the new certificate with the next connection, and the old one while the rotation is half done", async () => {
      const ca = certificates.ca.cert;
      const server = await restartable(certificates.server, { clientCa: ca });
      const { paths, tls } = files(ca, certificates.client);
      const client = clientOf(server.target, { tls });
      const steps = [
        () => undefined,
        () => replace(paths.cert, certificates.client2.cert),
        () => replace(paths.ca, ca.slice(0, 100)),
        () => rmSync(paths.ca),
        () => replace(paths.key, certificates.client2.key),
        () => replace(paths.ca, ca),
      ];
      const shown: unknown[] = [];
      for (const step of steps) {
        step();
        await server.restart();
        await client.getModelStatus("m");
        shown.push(server.lastClient());
      }
      expect(shown).toEqual(["client", "client", "client", "client", "client", "client2"]);
    });

    it("keeps a connection that works", async () => {
      const server = await serve(start, certificates.server, { clientCa: certificates.ca.cert });
      const { paths, tls } = files(certificates.ca.cert, certificates.client);
      const client = clientOf(`${scheme}://localhost:${server.port}`, { tls });
      await client.getModelStatus("m");
      replace(paths.cert, certificates.client2.cert);
      replace(paths.key, certificates.client2.key);
      // undici takes a connection back a turn after its answer.
      await setImmediate();
      await client.getModelStatus("m");
      expect(server.calls.map(({ client: name }) => name)).toEqual(["client", "client"]);
    });

    it("fails calls while there is nothing to begin with, and recovers", async () => {
      const server = await serve(start, certificates.server);
      const file = join(folder(), "ca.pem");
      const client = clientOf(`${scheme}://localhost:${server.port}`, { tls: { ca: { file } } });
      const error = await errorOf(client.getModelStatus("m"));
      expect(error).toMatchObject({ name: "ServingError", ...failing("FAILED_PRECONDITION", false, "path") });
      expect(error.message).toMatch(
        /^FAILED_PRECONDITION: getModelStatus m: the TLS credentials cannot be used: tls\.ca \(.*ca\.pem\): ENOENT/,
      );
      writeFileSync(file, certificates.ca.cert);
      expect(await client.getModelStatus("m")).toEqual([]);
    });
  });

  describe("fails with a hint of its own where", () => {
    const ca = () => certificates.ca.cert;
    it.each<[string, () => Identity, () => TlsOptions, string]>([
      ["the server's certificate has expired", () => certificates.expired, () => ({ ca: ca() }), "not valid today"],
      ["it is for another host", () => certificates.wrongHost, () => ({ ca: ca() }), "tls.serverName"],
      ["it is signed by nobody", () => certificates.selfSigned, () => ({}), "tls.ca"],
      ["its authority is not trusted", () => certificates.server, () => ({ ca: certificates.otherCa.cert }), "tls.ca"],
      ["Node does not trust its authority", () => certificates.server, () => ({}), "tls.ca"],
    ])("%s", async (_title, identity, tls, hint) => {
      const server = await serve(start, identity());
      const error = await errorOf(statusOver(`${scheme}://localhost:${server.port}`, tls()));
      expect(error).toMatchObject({ name: "RpcError", ...failing("UNAVAILABLE", false, hint) });
    });

    it("the client shows no certificate but has to", async () => {
      const server = await serve(start, certificates.server, { clientCa: ca() });
      const error = await errorOf(statusOver(`${scheme}://localhost:${server.port}`, { ca: ca() }));
      expect(error).toMatchObject(failing("UNAVAILABLE", false, "set tls.cert and tls.key"));
    });

    it.each([42, 43, 44, 45, 46, 48, 49])("the server refuses the client's certificate by alert %i", async (alert) => {
      const port = await portThatAnswers(Uint8Array.of(0x15, 3, 3, 0, 2, 2, alert));
      const error = await errorOf(statusOver(`${scheme}://localhost:${port}`, { ca: ca(), ...certificates.client }));
      expect(error).toMatchObject(failing("UNAVAILABLE", false, "the server refused the client certificate"));
      expect(error.message).not.toContain("\n");
    });

    it.each([40, 70])("the handshake is broken off by alert %i", async (alert) => {
      const port = await portThatAnswers(Uint8Array.of(0x15, 3, 3, 0, 2, 2, alert));
      const error = await errorOf(statusOver(`${scheme}://localhost:${port}`, {}));
      expect(error).toMatchObject(failing("UNAVAILABLE", false, "broke the TLS handshake off"));
    });

    it("a server without alerts drops a client whose certificate it does not trust", async () => {
      const server = await serve(start, certificates.server, { clientCa: certificates.otherCa.cert });
      const tls = { ca: ca(), ...certificates.client };
      const error = await errorOf(statusOver(`${scheme}://localhost:${server.port}`, tls, { retry: false }));
      expect(error).toMatchObject(failing("UNAVAILABLE", true, "does not accept the client certificate"));
    });

    it.each([
      ["gRPC", Uint8Array.of(0, 0, 0, 4, 0, 0, 0, 0, 0)],
      ["HTTP", Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n")],
    ])("the port speaks %s without TLS", async (_protocol, answer) => {
      const error = await errorOf(statusOver(`${scheme}://localhost:${await portThatAnswers(answer)}`, {}));
      expect(error).toMatchObject(failing("UNAVAILABLE", false, "does not speak TLS"));
    });

    it("the port closes the connection in the handshake", async () => {
      const port = await portThatAnswers(new Uint8Array());
      const error = await errorOf(statusOver(`${scheme}://localhost:${port}`, {}, { retry: false }));
      expect(error).toMatchObject(failing("UNAVAILABLE", true, "instead of answering in TLS"));
    });

    it("the port speaks the other protocol inside TLS", async () => {
      const other = transport === "grpc" ? startSecureRest : startSecureGrpc;
      const server = await serve(other, certificates.server);
      const error = await errorOf(statusOver(`${scheme}://localhost:${server.port}`, { ca: ca() }));
      expect(error).toMatchObject(failing("UNAVAILABLE", false, "another protocol inside"));
    });

    it("the port expects TLS and is asked without", async () => {
      const server = await serve(start, certificates.server);
      const error = await errorOf(clientOf(`${transport === "grpc" ? "grpc" : "http"}://localhost:${server.port}`).getModelStatus("m"));
      expect(error).toMatchObject(failing("UNAVAILABLE", true, `use ${scheme}://`));
    });

    it.each<[string, (own: Identity) => TlsOptions, RegExp]>([
      ["cert and key", ({ cert }) => ({ cert, key: certificates.client2.key }), /: tls\.cert with tls\.key: .*key values mismatch/],
      [
        "a part of a certificate",
        ({ cert }) => ({ ca: cert.slice(0, 100) }),
        /: tls\.ca: expected PEM with a CERTIFICATE, got none or a part/,
      ],
      ["a key where a certificate belongs", ({ key }) => ({ ca: key }), /: tls\.ca: expected PEM with a CERTIFICATE/],
      ["a certificate where a key belongs", ({ cert }) => ({ cert, key: cert }), /: tls\.key: expected PEM with a PRIVATE KEY/],
      ["a folder", () => ({ ca: { file: tmpdir() } }), /: tls\.ca \(.*\): EISDIR/],
    ])("the options do not fit together: %s", async (_title, tls, message) => {
      const error = await errorOf(statusOver(`${scheme}://localhost:1`, tls(certificates.client)));
      expect(error).toMatchObject({ name: "ServingError", code: "FAILED_PRECONDITION", retryable: false });
      expect(error.message).toMatch(message);
    });
  });
});

describe("TLS over grpc alone", () => {
  it("verifies every address of dns:/// against the name", async () => {
    const server = await serve(startSecureGrpc, certificates.localhostOnly);
    expect(await statusOver(`dns:///localhost:${server.port}`, { ca: certificates.ca.cert })).toEqual([]);
  });

  it("goes over a unix socket, whose server is localhost unless serverName says otherwise", async () => {
    const path = join(folder(), "s");
    await serve(startSecureGrpc, certificates.localhostOnly, { path });
    expect(await statusOver(`unix:${path}`, { ca: certificates.ca.cert })).toEqual([]);
  });

  it("takes certificates that changed while calls wait for a connection, and leaves those calls to their channel", async () => {
    const silent: Socket[] = [];
    const port = await listen(createServer((socket) => void silent.push(socket.on("error", () => undefined))));
    const { paths, tls } = files(certificates.ca.cert, certificates.client);
    const client = clientOf(`grpcs://localhost:${port}`, { tls, retry: false });
    const first = errorOf(client.getModelStatus("m"));
    await expect.poll(() => silent.length).toBe(1);
    replace(paths.cert, certificates.client2.cert);
    replace(paths.key, certificates.client2.key);
    const second = errorOf(client.getModelStatus("m"));
    await expect.poll(() => silent.length).toBe(2);
    silent[0]?.destroy();
    expect(await first).toMatchObject({ code: "UNAVAILABLE" });
    silent[1]?.destroy();
    expect(await second).toMatchObject({ code: "UNAVAILABLE" });
  });
});

describe("a prefix over plaintext gRPC", () => {
  it("stands before the path of predict too", async () => {
    const server = await startModelServer();
    closers.push(() => server.close());
    const call = clientOf(`grpc://localhost:${server.grpcPort}/eu`).predict("m", { x: tensor("float32", [1], [1]) });
    const text = "The server does not implement the method /eu/tensorflow.serving.PredictionService/Predict";
    expect(await errorOf(call)).toMatchObject({ code: "UNIMPLEMENTED", serverMessage: text });
  });
});

describe("answers of proxies that add TLS to REST", () => {
  it.each([
    ["400 The plain HTTP request was sent to HTTPS port", true, "use https://"],
    ["400 No required SSL certificate was sent", true, "set tls.cert and tls.key"],
    ["400 The SSL certificate error", true, "refused the client certificate"],
    ["Client sent an HTTP request to an HTTPS server.", false, "use https://"],
  ])("%s", async (text, isPage, hint) => {
    const body = isPage ? `<html>\r\n<head><title>${text}</title></head>` : text;
    const head = `HTTP/1.1 400 Bad Request\r\nContent-Type: text/${isPage ? "html" : "plain"}\r\nContent-Length: ${body.length}\r\n\r\n`;
    const port = await portThatAnswers(Buffer.from(head + body));
    expect(await errorOf(clientOf(`http://localhost:${port}`).getModelStatus("m"))).toMatchObject(failing("INVALID_ARGUMENT", false, hint));
  });
});

describe("createTlsCredentials", () => {
  it("makes one context until a file has changed", () => {
    const { paths, tls } = files(certificates.ca.cert, certificates.client);
    const credentials = createTlsCredentials(tls);
    const first = credentials.context();
    expect(credentials.context()).toBe(first);
    replace(paths.ca, certificates.otherCa.cert);
    const second = credentials.context();
    expect(second).not.toBe(first);
    expect(credentials.context()).toBe(second);
  });

  it("goes on with the old files while new ones are of no use, and warns of each mistake once", async () => {
    const warnings = collectWarnings();
    const { paths, tls } = files(certificates.ca.cert, certificates.client);
    const credentials = createTlsCredentials(tls);
    const first = credentials.context();
    replace(paths.cert, "no certificate");
    for (let times = 0; times < 3; times++) expect(credentials.context()).toBe(first);
    rmSync(paths.cert);
    expect(credentials.context()).toBe(first);
    replace(paths.cert, certificates.client.cert);
    replace(paths.ca, certificates.ca.cert.replace(/\n[A-Za-z0-9+/]{64}\n/, "\nMIIno\n"));
    expect(credentials.context()).toBe(first);
    await setImmediate();
    expect(warnings).toEqual([
      expect.stringMatching(/^the TLS credentials cannot be used: tls\.cert .*expected PEM.*; new connections use what was read before$/),
      expect.stringMatching(/^the TLS credentials cannot be used: tls\.cert .*ENOENT.*; new connections use what was read before$/),
      expect.stringMatching(
        /^the TLS credentials cannot be used: tls\.ca .*expected PEM with certificates, got one that cannot be read: .*before$/,
      ),
    ]);
  });
});

const proxyVariables = ["http_proxy", "https_proxy", "no_proxy", "grpc_proxy", "no_grpc_proxy"].flatMap((name) => [
  name,
  name.toUpperCase(),
]);

/** Sets the environment's proxy, until the test ends. */
function proxyEnvironment(variables: Readonly<Record<string, string>>): void {
  const before = proxyVariables.map((name) => [name, process.env[name]] as const);
  for (const name of proxyVariables) delete process.env[name];
  Object.assign(process.env, variables);
  closers.push(() => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  });
}

/** A proxy that knows CONNECT and nothing else, or refuses that too. */
async function startProxy(status = 200) {
  const asked: { readonly target: string; readonly headers: IncomingHttpHeaders }[] = [];
  const sockets = new Set<Socket>();
  const server = createHttpServer();
  server.on("connect", ({ url: target = "", headers }, socket: Socket) => {
    asked.push({ target, headers });
    if (status !== 200) {
      socket.end(`HTTP/1.1 ${status} Refused\r\n\r\n`);
      return;
    }
    const { hostname, port } = new URL(`tcp://${target}`);
    const upstream = connect({ host: hostname, port: Number(port) }, () => {
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
      socket.pipe(upstream).pipe(socket);
    });
    for (const one of [socket, upstream]) sockets.add(one.on("error", () => one.destroy()));
    socket.on("close", () => upstream.destroy());
    upstream.on("close", () => socket.destroy());
  });
  const port = await listen(server);
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
  });
  return { url: `http://user:${token}@127.0.0.1:${port}`, asked };
}

const throughProxy = { proxy: "environment" } as const;

describe.each(transports)("a proxy from the environment over $transport", ({ transport, scheme, plain, start }) => {
  /** A plaintext target of the embedded server. */
  async function plainTarget(): Promise<string> {
    const server = await startModelServer();
    closers.push(() => server.close());
    return `${plain}://localhost:${transport === "grpc" ? server.grpcPort : server.restPort}`;
  }

  it("carries calls that ask for it", async () => {
    const proxy = await startProxy();
    proxyEnvironment({ http_proxy: proxy.url });
    const target = await plainTarget();
    const error = await errorOf(clientOf(target, throughProxy).getModelStatus("m"));
    expect(error.code).toBe("NOT_FOUND");
    expect(proxy.asked.map((one) => `${plain}://${one.target}`)).toEqual([target]);
    expect(proxy.asked[0]?.headers["proxy-authorization"]).toBe(`Basic ${btoa(`user:${token}`)}`);
  });

  it("is ignored without the option", async () => {
    const proxy = await startProxy();
    proxyEnvironment({ http_proxy: proxy.url, https_proxy: proxy.url, HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url });
    expect((await errorOf(clientOf(await plainTarget()).getModelStatus("m"))).code).toBe("NOT_FOUND");
    expect(proxy.asked).toEqual([]);
  });

  it("is not asked for hosts of no_proxy", async () => {
    const proxy = await startProxy();
    proxyEnvironment({ http_proxy: proxy.url, no_proxy: "localhost" });
    expect((await errorOf(clientOf(await plainTarget(), throughProxy).getModelStatus("m"))).code).toBe("NOT_FOUND");
    expect(proxy.asked).toEqual([]);
  });

  it("carries TLS through, verified to the end, with what the files hold", async () => {
    const proxy = await startProxy();
    proxyEnvironment({ https_proxy: proxy.url });
    const ca = certificates.ca.cert;
    const server = await serve(start, certificates.server, { clientCa: ca });
    const { paths, tls } = files(ca, certificates.client);
    const client = clientOf(`${scheme}://localhost:${server.port}`, { ...throughProxy, tls });
    await client.getModelStatus("m");
    await server.close();
    const next = await serve(start, certificates.server, { clientCa: ca, port: server.port });
    replace(paths.cert, certificates.client2.cert);
    replace(paths.key, certificates.client2.key);
    await client.getModelStatus("m");
    expect([server.calls[0]?.client, next.calls[0]?.client]).toEqual(["client", "client2"]);
    expect(proxy.asked.length).toBeGreaterThan(1);
    expectNoSecrets(client);
    const untrusted = statusOver(`${scheme}://localhost:${server.port}`, { ...certificates.client }, throughProxy);
    expect(await errorOf(untrusted)).toMatchObject(failing("UNAVAILABLE", false, "tls.ca"));
  });

  it("leaves no connection to a peer that stays silent inside the tunnel", async () => {
    const sockets = new Set<Socket>();
    const silent = createServer((socket) => {
      sockets.add(socket.resume());
      socket.on("error", () => undefined).once("close", () => sockets.delete(socket));
    });
    const proxy = await startProxy();
    proxyEnvironment({ https_proxy: proxy.url });
    const client = clientOf(`${scheme}://localhost:${await listen(silent)}`, { ...throughProxy, tls: {}, timeoutMs: 300, retry: false });
    expect((await errorOf(client.getModelStatus("m"))).code).toBe("DEADLINE_EXCEEDED");
    expect(sockets.size).toBe(1);
    await client.close();
    await eventually(() => sockets.size === 0);
    expect(sockets.size).toBe(0);
  });

  it("fails calls with a hint where it refuses", async () => {
    const proxy = await startProxy(407);
    proxyEnvironment({ http_proxy: proxy.url });
    const error = await errorOf(clientOf("localhost:1", throughProxy).getModelStatus("m"));
    expect(error).toMatchObject(failing("UNAVAILABLE", true, "the proxy of the environment"));
  });
});

describe("a proxy from the environment over REST alone", () => {
  it("gets lists of metadata whole", async () => {
    const proxy = await startProxy();
    proxyEnvironment({ HTTPS_PROXY: proxy.url });
    const server = await serve(startSecureRest, certificates.server);
    const options = { ...throughProxy, metadata: { "x-many": ["a", "b"] } };
    await statusOver(`https://localhost:${server.port}`, { ca: certificates.ca.cert }, options);
    expect(server.calls[0]?.headers["x-many"]).toBe("a, b");
  });

  it("fails calls where the variable holds no URL, without repeating it", async () => {
    proxyEnvironment({ HTTP_PROXY: `http//user:${token}@proxy:1` });
    const error = await errorOf(clientOf("http://localhost:1", throughProxy).getModelStatus("m"));
    expect(error).toMatchObject({ code: "FAILED_PRECONDITION", retryable: false });
    expect(error.message).toContain("proxy: expected HTTP_PROXY and HTTPS_PROXY to be URLs");
  });
});

describe("rejects", () => {
  const call = async (to: string | readonly string[], options?: ClientOptions) => await clientOf(to, options).getModelStatus("m");

  it.each([
    ["grpc://host:8500", 'option tls goes with "grpcs://", got "grpc://"'],
    ["http://host:8501", 'option tls goes with "https://", got "http://"'],
  ])("the option tls beside %s", async (target, message) => {
    await expect(call(target, { tls: true })).rejects.toThrow(TypeError);
    await expect(call(target, { tls: true })).rejects.toThrow(message);
  });

  it("targets of which only some are reached over TLS", async () => {
    const targets = ["grpcs://a", "b:8500"];
    await expect(call(targets)).rejects.toThrow(
      new TypeError("targets: expected replicas all with TLS or all without, got a:443 with it and b:8500 without"),
    );
  });

  it("the option tls beside a transport of one's own", () => {
    expect(() => new PredictionClient(new EchoTransport(), { tls: true })).toThrow(TypeError);
  });
});
