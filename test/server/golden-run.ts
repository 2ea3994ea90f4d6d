/** Sends recorded exchanges to an embedded server and compares the answers. */
import { Client, credentials } from "@grpc/grpc-js";
import { type ModelServer, type ModelServerOptions, startModelServer } from "../../src/server/index.js";
import { firstOf, grpcDifference, restDifference, same } from "./golden-compare.js";
import { type Exchange, restRequest } from "./golden-exchanges.js";
import { allGoldenModels, goldenLabels, goldenModels } from "./golden-models.js";
import { rawGrpc } from "./raw-grpc.js";
import { converse, type Part } from "./raw-http.js";

/** What became of an exchange. */
export interface Outcome {
  readonly id: string;
  readonly result: "passed" | "failed" | "not run";
  /** What differs, or why it was not run. */
  readonly reason?: string;
}

/** HEAD of the real server is answered with a body, which nobody can read: `docs/server.md`. */
const unsafe: ReadonlySet<string> = new Set(["errors-rest/path/head", "errors-rest/raw/head_then_get"]);

/** The real server leaves a connection open whose end is all that could end the body: `docs/server.md`. */
const closedSafely: ReadonlySet<string> = new Set(["errors-rest/path/connect"]);

/** How many exchanges are under way at once; most of their time is waiting whether the server closes the connection. */
const width = 24;

/** Exchanges with the main configuration. */
export function runMain(wanted: readonly Exchange[]): Promise<Outcome[]> {
  return withServer({ models: allGoldenModels, versionLabels: goldenLabels }, (peer) => runAll(peer, wanted));
}

/** A server and a gRPC client of it. */
export interface Peer {
  readonly server: ModelServer;
  readonly client: Client;
}

/** Start a server for as long as it is used. */
export async function withServer<T>(options: ModelServerOptions, use: (peer: Peer) => Promise<T>): Promise<T> {
  const server = await startModelServer(options);
  const client = new Client(server.grpcTarget, credentials.createInsecure());
  try {
    return await use({ server, client });
  } finally {
    client.close();
    await server.close();
  }
}

async function runAll(peer: Peer, wanted: readonly Exchange[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  const queue = wanted.entries();
  const work = async () => {
    for (const [index, exchange] of queue) outcomes[index] = await runOne(peer, exchange);
  };
  await Promise.all(Array.from({ length: width }, work));
  return outcomes;
}

/** Send one exchange and compare. */
export async function runOne(peer: Peer, exchange: Exchange): Promise<Outcome> {
  const { id } = exchange;
  const reason = reasonNotToRun(exchange);
  if (reason !== undefined) return { id, result: "not run", reason };
  const difference = await differenceOf(peer, exchange);
  return difference === undefined ? { id, result: "passed" } : { id, result: "failed", reason: difference };
}

function reasonNotToRun({ id, model, depends_on_model: needsGraph }: Exchange): string | undefined {
  if (unsafe.has(id)) return "answered safely instead: see docs/server.md";
  return needsGraph && model !== null && !Object.hasOwn(goldenModels, model)
    ? `the graph of ${model} needs TensorFlow's kernels`
    : undefined;
}

function differenceOf(peer: Peer, exchange: Exchange): Promise<string | undefined> {
  if (exchange.transport === "grpc") return grpcExchange(peer, exchange);
  return exchange.request.raw === undefined ? restExchange(peer, exchange) : rawExchange(peer, exchange, exchange.request.raw);
}

/** Make one gRPC call and compare. */
export async function grpcExchange({ client }: Peer, exchange: Exchange): Promise<string | undefined> {
  const { method, bytes = "", timeout_ms: timeoutMs, metadata = [] } = exchange.request;
  const headers = metadata.map(([name, value]) => [name, typeof value === "string" ? value : Buffer.from(value.b64, "base64")] as const);
  return grpcDifference(await rawGrpc(client, method, Buffer.from(bytes, "base64"), timeoutMs, headers), exchange);
}

async function restExchange({ server }: Peer, exchange: Exchange): Promise<string | undefined> {
  const expected = closedSafely.has(exchange.id) ? "closed" : (exchange.response.connection ?? "open");
  const wanted = { answers: 1, timeoutMs: 10_000, closeGraceMs: graceFor(expected) };
  const { answers, connection } = await converse(server.restPort, [restRequest(exchange)], wanted);
  const [answer] = answers;
  if (answer === undefined) return `no answer; the connection is ${connection}`;
  return restDifference(answer, exchange.response, exchange) ?? same(connection, expected);
}

async function rawExchange(
  { server }: Peer,
  exchange: Exchange,
  raw: NonNullable<Exchange["request"]["raw"]>,
): Promise<string | undefined> {
  const { answers: expected = [], connection = "open" } = exchange.response;
  const parts = raw.map((part): Part => {
    if ("pause_ms" in part) return { pauseMs: part.pause_ms };
    return "text" in part ? Buffer.from(part.text, "latin1") : Buffer.from(part.b64, "base64");
  });
  const timeoutMs = exchange.request.timeout_ms ?? 5_000;
  const got = await converse(server.restPort, parts, { answers: expected.length, timeoutMs, closeGraceMs: graceFor(connection) });
  const interim = got.answers.filter(({ status }) => status < 200).length;
  const final = got.answers.filter(({ status }) => status >= 200);
  const wantedInterim = expected.reduce((count, answer) => count + ((answer as { interim?: unknown[] }).interim?.length ?? 0), 0);
  return (
    same(`${interim} interim, ${final.map(({ status }) => status)}`, `${wantedInterim} interim, ${expected.map(({ status }) => status)}`) ??
    firstOf(final, (answer, index) => restDifference(answer, expected[index] as never, exchange)) ??
    same(got.connection, connection)
  );
}

/** A connection that shall end is waited for on a busy machine too; that another one stays open can only be seen by waiting. */
function graceFor(connection: "open" | "closed"): number {
  return connection === "closed" ? 5_000 : 60;
}
