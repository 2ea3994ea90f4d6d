/** The load target of `server.c` for machines without a C compiler: same arguments, same answers, but it costs about as much as a client. */
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttp2Server } from "node:http2";

const [protocol, length, window] = process.argv.slice(2);
const answer = await readAnswer(Number(length));

const server = protocol === "grpc" ? grpcServer(Number(window)) : httpServer();
server.listen(0, "127.0.0.1", () => console.log(server.address().port));

/** Read the answer from standard input; from then on, its end ends this process. @param {number} bytes */
function readAnswer(bytes) {
  const parts = [];
  let got = 0;
  return new Promise((resolve) => {
    if (bytes === 0) resolve(Buffer.alloc(0));
    process.stdin.on("data", (part) => {
      parts.push(part);
      got += part.length;
      if (got === bytes) resolve(Buffer.concat(parts));
    });
    process.stdin.on("end", () => process.exit(0));
  });
}

/** @param {number} initialWindowSize */
function grpcServer(initialWindowSize) {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(answer.length, 1);
  const message = Buffer.concat([prefix, answer]);
  // Node's limit of 10 MB for all streams of a connection would refuse large calls.
  const server = createHttp2Server({ settings: { initialWindowSize }, maxSessionMemory: 4096 });
  server.on("session", (session) => session.setLocalWindowSize(initialWindowSize));
  server.on("stream", (stream) => {
    stream.on("error", () => stream.close());
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.on("end", () => {
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.end(message);
    });
    stream.resume();
  });
  return server;
}

function httpServer() {
  const headers = { "content-type": "application/json", "content-length": answer.length };
  return createHttpServer((request, response) => {
    request.on("end", () => response.writeHead(200, headers).end(answer));
    request.resume();
  });
}
