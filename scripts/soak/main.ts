/**
 * `npm run soak -- --minutes N [--transport grpc|rest]`: calls without end over two servers that fail.
 *
 * Every 20 s one of them is killed and started again, and the other one hangs for 2 s; 5 % of the calls are refused with UNAVAILABLE, and
 * answers take their time. Every answer is checked against the one that follows from its inputs. One call in a hundred is aborted on the way;
 * it counts as aborted if it rejects with its own reason. Ends with status 1 if a call was lost or wrong, a handle stayed, or memory grew by 5 MB.
 */
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { PredictionClient } from "../../src/index.js";
import { Endpoint } from "./endpoint.js";
import { isAnswerTo, modelName, randomInputs } from "./workload.js";

const refusedShare = 0.05;
const abortedShare = 0.01;
const workers = 32;
const restartEveryMs = 20_000;
const hangMs = 2000;
const maxHeapGrowthMiB = 5;
/** With a share of 5 % refused, a call in 8,000 would be refused three times; with six retries it is one in a billion. */
const retry = { maxRetries: 6 };
/** Code is compiled and buffers have grown by then; memory is compared from here on. */
const warmUpMs = 30_000;

const { values } = parseArgs({ options: { minutes: { type: "string", default: "1" }, transport: { type: "string", default: "grpc" } } });
const { transport } = values;
const minutes = Number(values.minutes);
if (!(minutes > 0)) fail(`--minutes: expected a positive number, got ${values.minutes}`);
if (transport !== "grpc" && transport !== "rest") fail(`--transport: expected grpc or rest, got ${transport}`);
const { gc } = globalThis;
if (gc === undefined) fail("expected to run with --expose-gc, as npm run soak does");

const endpoints = [new Endpoint(refusedShare), new Endpoint(refusedShare)] as const;
await Promise.all(endpoints.map((endpoint) => endpoint.start()));
const handlesBefore = handles();
const client = new PredictionClient(
  endpoints.map((endpoint) => (transport === "grpc" ? endpoint.grpcTarget : endpoint.restTarget)),
  { retry },
);

const counts = { calls: 0, lost: 0, wrong: 0, aborted: 0, restarts: 0 };
const startedAt = performance.now();
const stopped = new AbortController();
const stop = () => stopped.abort();
process.once("SIGINT", stop);
const timer = setTimeout(stop, minutes * 60_000);

const running = Array.from({ length: workers }, work);
const restarting = restart();
let heapBefore = 0;
const reporting = report();

await Promise.all([...running, restarting, reporting]);
clearTimeout(timer);
const heapGrowth = heapMiB() - heapBefore;
await client.close();
// Sockets of the last calls are closed a moment after the client has let them go.
await pause(500);
const handleGrowth = handles() - handlesBefore;
await Promise.all(endpoints.map((endpoint) => endpoint.kill()));
console.log(
  `${counts.calls} calls, ${counts.lost} lost, ${counts.wrong} wrong, heap ${signed(heapGrowth, 1)} MB, handles ${signed(handleGrowth, 0)}`,
);
const isClean = counts.lost + counts.wrong + Math.abs(handleGrowth) === 0 && heapGrowth < maxHeapGrowthMiB;
process.exitCode = isClean ? 0 : 1;

/** One caller: call after call. */
async function work(): Promise<void> {
  while (!stopped.signal.aborted) {
    const inputs = randomInputs();
    const aborted = new AbortController();
    const reason = new Error("aborted by the soak");
    if (Math.random() < abortedShare) setTimeout(() => aborted.abort(reason), Math.random() * 20);
    counts.calls++;
    try {
      const { outputs } = await client.predict(modelName, inputs, { signal: aborted.signal });
      if (!isAnswerTo(inputs, outputs)) counts.wrong++;
    } catch (error) {
      if (error === reason) counts.aborted++;
      else {
        counts.lost++;
        console.error(error);
      }
    }
  }
}

/** Kill and start the servers in turn; half-way between, the other one hangs. */
async function restart(): Promise<void> {
  for (let turn = 0; await waited(restartEveryMs / 2); turn++) {
    const endpoint = endpoints[turn % 4 < 2 ? 0 : 1];
    if (turn % 2 === 0) await endpoint.hang(hangMs);
    else {
      await endpoint.kill();
      await endpoint.start();
      counts.restarts++;
    }
  }
}

/** A line of the table every fifteenth of the time, at most once in 5 s. */
async function report(): Promise<void> {
  const everyMs = Math.max((minutes * 60_000) / 15, 5000);
  console.log(row("time", "calls", "calls/s", "refused", "restarts", "aborted", "lost", "wrong", "heap MB", "endpoints"));
  let lastCalls = 0;
  for (;;) {
    const ended = !(await waited(everyMs));
    const elapsedMs = performance.now() - startedAt;
    if (heapBefore === 0 && elapsedMs >= Math.min(warmUpMs, everyMs)) heapBefore = heapMiB();
    if (ended) return;
    const refused = endpoints.reduce((sum, endpoint) => sum + endpoint.refused, 0);
    const states = client.endpoints().map(({ state, inFlight }) => `${state} ${inFlight}`);
    const perSecond = Math.round(((counts.calls - lastCalls) / everyMs) * 1000);
    lastCalls = counts.calls;
    const { calls, restarts, aborted, lost, wrong } = counts;
    console.log(
      row(
        `${Math.round(elapsedMs / 1000)} s`,
        calls,
        perSecond,
        refused,
        restarts,
        aborted,
        lost,
        wrong,
        heapMiB().toFixed(1),
        states.join(", "),
      ),
    );
  }
}

/** Wait; false if the soak ended meanwhile. */
function waited(delayMs: number): Promise<boolean> {
  return pause(delayMs, true, { signal: stopped.signal }).catch(() => false);
}

function row(...cells: (string | number)[]): string {
  return cells.map((cell, index) => (index === cells.length - 1 ? `  ${cell}` : String(cell).padStart(9))).join("");
}

/** The memory of JavaScript without its garbage: the heap, and the array buffers that tensors stand in. */
function heapMiB(): number {
  // The first collection leaves array buffers to a thread in the background, the second waits for it.
  gc?.();
  gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return (heapUsed + external) / 2 ** 20;
}

/** What keeps the process alive, or would: sockets, timers, requests under way; the children's channels among it. */
function handles(): number {
  return process.getActiveResourcesInfo().filter((name) => name !== "Immediate").length;
}

function signed(value: number, digits: number): string {
  return `${value < 0 ? "" : "+"}${value.toFixed(digits)}`;
}

function fail(message: string): never {
  console.error(message);
  process.exit(2);
}
