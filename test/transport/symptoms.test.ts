/** What callers see when the client meets something else than a healthy model server: each symptom over a real socket. */
import { createServer as createHttp2Server, type Http2Server, constants as http2Constants } from "node:http2";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { Server as GrpcServer, ServerCredentials } from "@grpc/grpc-js";
import { afterEach, describe, expect, it } from "vitest";
import { PredictionClient } from "../../src/client/prediction-client.js";
import { isServingError, type RpcError } from "../../src/errors.js";
import { startModelServer } from "../../src/server/model-server.js";
import { servable } from "../../src/server/servable.js";
import { tensor } from "../../src/tensor/tensor.js";
import { startCannedRestServer } from "../support/canned-rest-server.js";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** The error of a status call to a target. */
async function errorFrom(target: string, timeoutMs = 5000): Promise<RpcError> {
  const client = new PredictionClient(target, { timeoutMs });
  closers.push(() => client.close());
  const error: unknown = await client.getModelStatus("m").catch((thrown: unknown) => thrown);
  if (!isServingError(error, "RpcError")) throw new Error(`expected an RpcError, got ${error}`);
  return error;
}

const said = ({ code, retryable, hint }: RpcError) => ({ code, retryable, hint });
const saying = (code: string, retryable: boolean, hint: string) => ({ code, retryable, hint: expect.stringContaining(hint) });

async function listen(server: Server | Http2Server, path?: string): Promise<number> {
  await new Promise<void>((resolve) => (path === undefined ? server.listen(0, "127.0.0.1", resolve) : server.listen(path, resolve)));
  closers.push(() => new Promise((resolve) => server.close(resolve)));
  return path === undefined ? (server.address() as AddressInfo).port : 0;
}

/** A port whose connections are handed to `serve` with their first bytes. */
function portThat(serve: (socket: Socket) => void): Promise<number> {
  return listen(
    createServer((socket) => {
      closers.push(() => socket.destroy());
      socket.on("error", () => socket.destroy());
      socket.once("data", () => serve(socket));
    }),
  );
}

/** A port where nothing listens any more. */
async function freedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function tlsPort(): Promise<number> {
  const server = createTlsServer();
  server.on("tlsClientError", () => undefined);
  return listen(server);
}

const htmlPage = "<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD></HTML>";

async function htmlServer(status: number): Promise<string> {
  const server = await startCannedRestServer(() => ({ status, headers: { "content-type": "text/html" }, body: htmlPage }));
  closers.push(() => server.close());
  return server.url;
}

/** An HTTP/2 server that is no gRPC server. */
async function http2Port(status: number): Promise<number> {
  const server = createHttp2Server((_request, response) => {
    response.writeHead(status, { "content-type": "text/html" });
    response.end(htmlPage);
  });
  return listen(server);
}

describe("a server that cannot be reached", () => {
  it.each(["", "http://"])("is not there yet (trap 28): %s", async (scheme) => {
    const error = await errorFrom(`${scheme}127.0.0.1:${await freedPort()}`);
    expect(said(error)).toEqual(saying("UNAVAILABLE", true, "opens its ports only after all models have loaded"));
    expect(error.serverMessage).toContain("ECONNREFUSED");
    expect(error.serverMessage).not.toContain("Resolution note");
  });

  // A label of more than 63 characters fails in the resolver itself, so that no test waits for the network.
  it.each(["", "http://"])("has a name nobody knows: %s", async (scheme) => {
    const error = await errorFrom(`${scheme}${"a".repeat(64)}.invalid:8500`);
    expect(said(error)).toEqual(saying("UNAVAILABLE", true, "the host name has no address"));
  });

  it("has no socket at the path", async () => {
    expect(said(await errorFrom("unix:/nothing/here.sock"))).toEqual(saying("UNAVAILABLE", true, "--grpc_socket_path"));
  });
});

describe("the wrong port", () => {
  it("is REST's, asked in gRPC", async () => {
    const server = await startModelServer();
    closers.push(() => server.close());
    const error = await errorFrom(`127.0.0.1:${server.restPort}`);
    expect(said(error)).toEqual(saying("UNAVAILABLE", false, "is it the REST port (8501 by default)?"));
  });

  it("is REST's, which answers the start of HTTP/2 as TensorFlow Serving does", async () => {
    const head = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: 6\r\n\r\n";
    const port = await portThat((socket) => socket.end(`${head}<HTML>`));
    expect(said(await errorFrom(`127.0.0.1:${port}`))).toEqual(saying("UNAVAILABLE", false, "is it the REST port (8501 by default)?"));
  });

  it("is gRPC's, asked in HTTP/1.1", async () => {
    const server = await startModelServer();
    closers.push(() => server.close());
    const error = await errorFrom(`http://127.0.0.1:${server.grpcPort}`);
    expect(said(error)).toEqual(saying("INTERNAL", false, "is it gRPC's (8500 by default)"));
  });

  it("makes waitForModel fail at once instead of waiting", async () => {
    const server = await startModelServer();
    const client = new PredictionClient(`127.0.0.1:${server.restPort}`);
    closers.push(
      () => server.close(),
      () => client.close(),
    );
    await expect(client.waitForModel("m", { timeoutMs: 30_000 })).rejects.toMatchObject(saying("UNAVAILABLE", false, "8501"));
  });

  it.each([
    [404, "UNIMPLEMENTED"],
    [400, "INVALID_ARGUMENT"],
    [501, "UNIMPLEMENTED"],
  ])("or path is another web server's: HTML with status %i (traps 15, 16)", async (status, code) => {
    expect(said(await errorFrom(await htmlServer(status)))).toEqual(saying(code, false, "host, port (8501 by default"));
  });

  it("is a path that the embedded server does not have either", async () => {
    const server = await startModelServer();
    closers.push(() => server.close());
    expect(said(await errorFrom(`${server.restTarget}/prefix`))).toEqual(saying("UNIMPLEMENTED", false, "path prefix"));
  });

  it.each([
    [404, "UNIMPLEMENTED"],
    [200, "INTERNAL"],
  ])("is an HTTP/2 server's without gRPC: status %i", async (status, code) => {
    expect(said(await errorFrom(`127.0.0.1:${await http2Port(status)}`))).toEqual(saying(code, false, "not a gRPC one"));
  });

  it("is a web server's that finds everything", async () => {
    expect(said(await errorFrom(await htmlServer(200)))).toEqual(saying("INTERNAL", false, "not what TensorFlow Serving sends"));
  });

  it("is another gRPC server's", async () => {
    const server = new GrpcServer();
    closers.push(() => server.forceShutdown());
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound)));
    });
    expect(said(await errorFrom(`127.0.0.1:${port}`))).toEqual(saying("UNIMPLEMENTED", false, "not TensorFlow Serving"));
  });
});

describe("a port that expects TLS", () => {
  it("closes the connection before gRPC is up", async () => {
    expect(said(await errorFrom(`127.0.0.1:${await tlsPort()}`))).toEqual(saying("UNAVAILABLE", true, "TLS"));
  });

  it("closes the connection under an HTTP request", async () => {
    expect(said(await errorFrom(`http://127.0.0.1:${await tlsPort()}`))).toEqual(saying("UNAVAILABLE", true, "TLS"));
  });

  it("answers HTTP with a TLS alert", async () => {
    const port = await portThat((socket) => socket.end(Uint8Array.of(0x15, 3, 1, 0, 2, 2, 0x46)));
    expect(said(await errorFrom(`http://127.0.0.1:${port}`))).toEqual(saying("INTERNAL", false, "TLS"));
  });
});

describe("a proxy between", () => {
  it.each([
    [502, "UNAVAILABLE", true, "the server behind it is down"],
    [503, "UNAVAILABLE", true, "the server behind it is down"],
    [504, "DEADLINE_EXCEEDED", false, "a proxy waited too long"],
    [401, "UNAUTHENTICATED", false, "credentials"],
    [403, "PERMISSION_DENIED", false, "credentials"],
    [407, "UNAUTHENTICATED", false, "credentials"],
    [413, "RESOURCE_EXHAUSTED", false, "size limit"],
    [429, "RESOURCE_EXHAUSTED", true, "send fewer at once"],
    [431, "RESOURCE_EXHAUSTED", false, "metadata"],
  ])("answers REST with status %i", async (status, code, retryable, hint) => {
    expect(said(await errorFrom(await htmlServer(status)))).toEqual(saying(code, retryable, hint));
  });

  it.each([
    [502, "UNAVAILABLE", true, "the server behind it is down"],
    [503, "UNAVAILABLE", true, "the server behind it is down"],
    [429, "UNAVAILABLE", true, "send fewer at once"],
    [401, "UNAUTHENTICATED", false, "credentials"],
    [403, "PERMISSION_DENIED", false, "credentials"],
  ])("answers gRPC with status %i", async (status, code, retryable, hint) => {
    expect(said(await errorFrom(`127.0.0.1:${await http2Port(status)}`))).toEqual(saying(code, retryable, hint));
  });
});

describe("a connection that is lost", () => {
  it("in the middle of a gRPC call (trap 41)", async () => {
    const server = createHttp2Server();
    server.on("stream", (stream) => {
      stream.on("error", () => undefined);
      stream.session?.destroy();
    });
    const error = await errorFrom(`127.0.0.1:${await listen(server)}`);
    expect(said(error)).toEqual(saying("UNAVAILABLE", true, "look at its log before sending the same again"));
  });

  it.each<[string, (socket: Socket) => void]>([
    ["closed", (socket) => socket.end()],
    ["reset", (socket) => socket.resetAndDestroy()],
    ["closed within the answer", (socket) => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")],
  ])("in the middle of a REST call: %s", async (_how, serve) => {
    const error = await errorFrom(`http://127.0.0.1:${await portThat(serve)}`);
    expect(said(error)).toEqual(saying("UNAVAILABLE", true, "look at its log before sending the same again"));
  });

  it("because of keepalive pings (trap 37), in grpc-js's words", async () => {
    const server = createHttp2Server();
    server.on("stream", (stream) => {
      stream.on("error", () => undefined);
      stream.close(http2Constants.NGHTTP2_ENHANCE_YOUR_CALM);
    });
    const error = await errorFrom(`127.0.0.1:${await listen(server)}`);
    expect(said(error)).toEqual(saying("RESOURCE_EXHAUSTED", false, "keepaliveMs"));
  });
});

describe("time that runs out", () => {
  it("before the port has answered in gRPC", async () => {
    const port = await portThat(() => undefined);
    expect(said(await errorFrom(`127.0.0.1:${port}`, 300))).toEqual(saying("DEADLINE_EXCEEDED", false, "no connection was there in time"));
  });

  it("before a REST server has answered", async () => {
    const port = await portThat(() => undefined);
    expect(said(await errorFrom(`http://127.0.0.1:${port}`, 300))).toEqual(saying("DEADLINE_EXCEEDED", false, "raise timeoutMs"));
  });

  it("before a gRPC server has answered", async () => {
    const server = createHttp2Server();
    server.on("stream", (stream) => closers.push(() => stream.session?.destroy()));
    const error = await errorFrom(`127.0.0.1:${await listen(server)}`, 500);
    expect(said(error)).toEqual(saying("DEADLINE_EXCEEDED", false, "raise timeoutMs"));
  });
});

describe("a message that is too large", () => {
  it("is refused by a gRPC server with a limit", async () => {
    const server = new GrpcServer({ "grpc.max_receive_message_length": 1000 });
    closers.push(() => server.forceShutdown());
    const codec = (bytes: Buffer) => bytes;
    const path = "/tensorflow.serving.PredictionService/Predict";
    const method = { path, requestStream: false, responseStream: false } as const;
    server.addService(
      {
        predict: { ...method, requestSerialize: codec, requestDeserialize: codec, responseSerialize: codec, responseDeserialize: codec },
      },
      { predict: (_call: unknown, callback: (error: null, value: Buffer) => void) => callback(null, Buffer.alloc(0)) },
    );
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound)));
    });
    const client = new PredictionClient(`127.0.0.1:${port}`);
    closers.push(() => client.close());
    await expect(client.predict("m", { x: tensor("float32", [1000], new Float32Array(1000)) })).rejects.toMatchObject(
      saying("RESOURCE_EXHAUSTED", false, "size limit"),
    );
  });
});

describe("a server that is busy with a call", () => {
  it("leaves the deadline to the client, whichever transport it uses", async () => {
    const x = { dtype: "float32", shape: [] } as const;
    const hang = servable({
      signatures: { serving_default: { inputs: { x }, outputs: { y: x } } },
      predict: (_inputs, { signal }) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    });
    const server = await startModelServer({ models: { hang } });
    closers.push(() => server.close());
    for (const target of [server.grpcTarget, server.restTarget]) {
      const client = new PredictionClient(target);
      closers.push(() => client.close({ force: true }));
      const call = client.predict("hang", { x: tensor("float32", [], [1]) }, { timeoutMs: 500 });
      await expect(call).rejects.toMatchObject(saying("DEADLINE_EXCEEDED", false, "raise timeoutMs"));
    }
  });
});
