/** Peers that leave a call hanging at a known point, and what the process holds on to meanwhile. */
import { type ChildProcess, spawn } from "node:child_process";
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttp2Server, type ServerHttp2Stream } from "node:http2";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { exchanges } from "../server/golden-exchanges.js";

/** Where a call hangs. */
export type Point = "connecting" | "connected to a silent peer" | "in flight" | "while the answer arrives";

/** A peer that leaves calls hanging. */
export interface UnansweringPeer {
  readonly port: number;
  /** Resolves when the next call hangs; `before` are the handles before it was made. */
  hanging(before: Handles): Promise<void>;
  /** Connections the peer holds. */
  sockets(): number;
  close(): Promise<void>;
}

/** Start a peer of one transport; REST's knows the metadata of half_plus_two and answers them. */
export async function startUnansweringPeer(transport: "grpc" | "rest", point: Point): Promise<UnansweringPeer> {
  if (point === "connecting") return startFullBacklog();
  if (point === "connected to a silent peer") return startSilent();
  const isDripping = point !== "in flight";
  return transport === "grpc" ? startHangingGrpc(isDripping) : startHangingRest(isDripping);
}

/** How many timers, connections and attempts to connect keep the process alive. */
export interface Handles {
  readonly timers: number;
  readonly sockets: number;
  readonly connecting: number;
}

/** What keeps the process alive now. */
export function handles(): Handles {
  const names = process.getActiveResourcesInfo();
  const count = (...wanted: string[]) => names.filter((name) => wanted.includes(name)).length;
  return {
    timers: count("Timeout"),
    sockets: count("TCPSocketWrap", "GetAddrInfoReqWrap"),
    connecting: count("ConnectWrap"),
  };
}

/** Wait, without timers, until something holds or a second has passed. */
export async function eventually(holds: () => boolean): Promise<void> {
  const end = performance.now() + 1000;
  while (!holds() && performance.now() < end) await new Promise((resolve) => setImmediate(resolve));
}

const dripMs = 20;

/** A port that takes connections and says nothing, not even the start of HTTP/2. */
async function startSilent(): Promise<UnansweringPeer> {
  const calls = callCounter();
  const server = createServer((socket) => {
    socket.on("error", () => undefined).resume();
    calls.count();
  });
  return listening(server, calls);
}

async function startHangingGrpc(isDripping: boolean): Promise<UnansweringPeer> {
  const calls = callCounter();
  const server = createHttp2Server().on("stream", (stream: ServerHttp2Stream) => {
    // The client's cancellation arrives as an error of the stream.
    stream.on("error", () => undefined);
    calls.count();
    if (!isDripping) return;
    stream.respond({ ":status": 200, "content-type": "application/grpc" });
    // A message of one mebibyte.
    stream.write(Uint8Array.of(0, 0, 16, 0, 0));
    const drip = setInterval(() => stream.write("\0"), dripMs).unref();
    stream.on("close", () => clearInterval(drip));
  });
  return listening(server, calls);
}

async function startHangingRest(isDripping: boolean): Promise<UnansweringPeer> {
  const calls = callCounter();
  const metadata = exchanges("metadata-status").find(({ id }) => id === "metadata-status/rest/metadata_half_plus_two");
  const server = createHttpServer((request, response) => {
    if (request.url === "/v1/models/half_plus_two/metadata") {
      response.end(metadata?.response.body);
      return;
    }
    calls.count();
    if (!isDripping) return;
    response.write('{"outputs": [');
    const drip = setInterval(() => response.write("1.0,"), dripMs).unref();
    response.on("close", () => clearInterval(drip));
  });
  return listening(server, calls);
}

/** A port that takes no more connections: its process sleeps, and what the system keeps for it is full. */
async function startFullBacklog(): Promise<UnansweringPeer> {
  const program = `const server = require("node:net").createServer().listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => console.log(server.address().port));`;
  const child = spawn(process.execPath, ["-e", program], { stdio: ["ignore", "pipe", "inherit"] });
  const port = await new Promise<number>((resolve) => child.stdout.once("data", (line: Buffer) => resolve(Number(line))));
  child.stdout.destroy();
  child.kill("SIGSTOP");
  const fillers = Array.from({ length: 4 }, () => connect(port, "127.0.0.1").on("error", () => undefined));
  // The system keeps as many as the backlog says and one more.
  await Promise.all(fillers.slice(0, 2).map((socket) => new Promise((resolve) => socket.once("connect", resolve))));
  return {
    port,
    hanging: (before) => eventually(() => handles().connecting > before.connecting),
    sockets: () => 0,
    async close() {
      for (const socket of fillers) socket.destroy();
      await ended(child);
    },
  };
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once("exit", () => resolve());
    child.kill("SIGKILL");
  });
}

function callCounter() {
  let seen = 0;
  let awaited = 0;
  return {
    count: () => {
      seen++;
    },
    async next() {
      awaited++;
      await eventually(() => seen >= awaited);
    },
  };
}

async function listening(server: Server, calls: ReturnType<typeof callCounter>): Promise<UnansweringPeer> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    hanging: () => calls.next(),
    sockets: () => sockets.size,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
