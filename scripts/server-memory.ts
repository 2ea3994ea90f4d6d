/**
 * `npm run server-memory -- [--calls 1000000]`: calls of an embedded server over gRPC and REST, with batching and without, answered and refused.
 *
 * Prints what the process holds, callers and all, every tenth of the way; ends with status 1 if the heap or buffers grew by more than 5 MB
 * after the first tenth, or a call had another outcome than it should.
 */
import { parseArgs } from "node:util";
import { Client, credentials } from "@grpc/grpc-js";
import { Agent, request } from "undici";
import { EncodedPredictRequest } from "../src/predict-codec.js";
import { startModelServer } from "../src/server/index.js";
import { tensor } from "../src/tensor/tensor.js";
import { halfPlusTwo } from "../test/server/golden-models.js";
import { rawGrpc } from "../test/server/raw-grpc.js";
import { livingBytes } from "../test/support/memory.js";

const maxGrowthMb = 5;
const callsAtOnce = 64;
const x = tensor("float32", [2], [1, 2]);
const predict = "/tensorflow.serving.PredictionService/Predict";

const { values } = parseArgs({ options: { calls: { type: "string", default: "1000000" } } });
const calls = Number(values.calls);
const models = { m: halfPlusTwo };
const servers = [
  await startModelServer({ models }),
  await startModelServer({ models, batching: { maxBatchSize: 32, allowedBatchSizes: [8, 32] } }),
];
const clients = servers.map(({ grpcTarget }) => new Client(grpcTarget, credentials.createInsecure()));
const agent = new Agent({ connections: callsAtOnce });
const bytesOf = (name: string) => new EncodedPredictRequest({ name }, { x }).toBuffer();

let begun = 0;
let wrong = 0;
let first = { heap: 0, buffers: 0 };

/** One in four calls goes to REST, one in eight asks for a model that is not there. */
async function call(index: number): Promise<void> {
  const which = index % servers.length;
  const name = index % 8 === 0 ? "none" : "m";
  const isAnswered = index % 4 < 3 ? await overGrpc(which, name) : await overRest(which, name);
  if (isAnswered !== (name === "m")) wrong++;
}

async function overGrpc(which: number, name: string): Promise<boolean> {
  return (await rawGrpc(clients[which] as Client, predict, bytesOf(name), 30_000)).code === "OK";
}

async function overRest(which: number, name: string): Promise<boolean> {
  const url = `${servers[which]?.restTarget}/v1/models/${name}:predict`;
  const { statusCode, body } = await request(url, { method: "POST", body: '{"instances": [1, 2]}', dispatcher: agent });
  await body.dump();
  return statusCode === 200;
}

async function work(until: number): Promise<void> {
  while (begun < until) await call(begun++);
}

const megabytes = (bytes: number) => bytes / 2 ** 20;
for (let tenth = 1; tenth <= 10; tenth++) {
  await Promise.all(Array.from({ length: callsAtOnce }, () => work((calls * tenth) / 10)));
  const { heap, buffers } = livingBytes();
  if (tenth === 1) first = { heap, buffers };
  console.log(`${begun} calls, ${wrong} wrong, heap ${megabytes(heap).toFixed(1)} MB, buffers ${megabytes(buffers).toFixed(1)} MB`);
  if (megabytes(Math.max(heap - first.heap, buffers - first.buffers)) > maxGrowthMb || wrong > 0) process.exitCode = 1;
}
for (const client of clients) client.close();
await agent.close();
await Promise.all(servers.map((server) => server.close()));
