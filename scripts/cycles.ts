/**
 * `npm run cycles -- [--count 10000] [--transport grpc|rest|grpcs|https]`: clients that connect, call once and close, one after the other;
 * over one transport after the other unless one is named.
 *
 * The server is a process of its own. Prints what this process holds every tenth of the way. Ends with status 1 if a call was lost or wrong,
 * a handle or socket stayed, or the heap grew by more than 5 MB after the first tenth.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readlinkSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { inspect, parseArgs } from "node:util";
import { type ClientOptions, PredictionClient } from "../src/index.js";
// Clients load these when they first call; what compiling them takes here is not to count as what cycles leave.
import "../src/transport/grpc/transport.js";
import "../src/transport/rest/transport.js";
import { livingBytes } from "../test/support/memory.js";
import type { ServerReport } from "./cycles-server.js";
import { isAnswerTo, modelName, randomInputs } from "./soak/workload.js";

/** What cycles go over: both transports without TLS, and with it. */
export const cycleTransports = ["grpc", "rest", "grpcs", "https"] as const;

type CycleTransport = (typeof cycleTransports)[number];

/** What a process holds. */
export interface Holdings {
  /** What keeps the process alive, or would: sockets, timers, requests under way. */
  readonly handles: number;
  /** Open sockets, whether they keep the process alive or not; 0 where the system does not tell. */
  readonly sockets: number;
  /** The heap without its garbage. */
  readonly heapMb: number;
}

/** Options of {@link runCycles}. */
export interface CycleOptions {
  readonly count: number;
  readonly transport: CycleTransport;
  /** Told every tenth of the way. */
  onTenth?(cycles: number, holdings: Holdings): void;
}

/** What {@link runCycles} found. */
export interface CycleGrowth extends Holdings {
  /** What went wrong with each call that failed, or was not answered as its inputs say. */
  readonly failures: readonly unknown[];
}

/** How much the heap may grow after the first tenth, when code is compiled and caches are full. */
export const maxHeapGrowthMb = 5;

/** How long what a client leaves may take to go; its sockets are closed a moment after it. */
const settleMs = 2000;

/**
 * Connect, call and close again and again, and tell what stayed: handles and sockets since before the first one, heap since the first tenth.
 *
 * @throws Error if the server cannot be started.
 */
export async function runCycles({ count, transport, onTenth }: CycleOptions): Promise<CycleGrowth> {
  const { child, targets, ca } = await startServer();
  try {
    const target = targets[transport];
    const options = { retry: false, ...(target.includes("s://") && { tls: { ca } }) } satisfies ClientOptions;
    const tenth = Math.max(Math.floor(count / 10), 1);
    const failures: unknown[] = [];
    const before = holdings();
    let [first, last] = [before, before];
    for (let cycles = 1; cycles <= count; cycles++) {
      await cycle(new PredictionClient(target, options), failures);
      if (cycles % tenth !== 0 && cycles !== count) continue;
      last = await settled(before);
      if (cycles === tenth) first = last;
      onTenth?.(cycles, last);
    }
    return {
      failures,
      handles: last.handles - before.handles,
      sockets: last.sockets - before.sockets,
      heapMb: last.heapMb - first.heapMb,
    };
  } finally {
    child.kill();
    await once(child, "exit");
  }
}

async function startServer(): Promise<ServerReport & { readonly child: ChildProcess }> {
  const child = fork(fileURLToPath(new URL("./cycles-server.ts", import.meta.url)), { execArgv: ["--import", "tsx"] });
  const ended = once(child, "exit").then(([status]) => {
    throw new Error(`the server ended with status ${status} before it listened`);
  });
  ended.catch(() => undefined);
  const [report] = await Promise.race([once(child, "message"), ended]);
  return { ...(report as ServerReport), child };
}

/** One client's life; what goes wrong with its call is added to the failures. */
async function cycle(opened: PredictionClient, failures: unknown[]): Promise<void> {
  await using client = opened;
  const inputs = randomInputs();
  try {
    const { outputs } = await client.predict(modelName, inputs);
    if (!isAnswerTo(inputs, outputs)) failures.push(new Error(`expected the answer to the inputs, got ${inspect(outputs)}`));
  } catch (error) {
    failures.push(error);
  }
}

/** What is held once it is no more than before, or has not become so in time. */
async function settled(before: Holdings): Promise<Holdings> {
  const until = performance.now() + settleMs;
  for (;;) {
    const now = holdings();
    if ((now.handles <= before.handles && now.sockets <= before.sockets) || performance.now() > until) return now;
    await pause(20);
  }
}

function holdings(): Holdings {
  return {
    handles: process.getActiveResourcesInfo().filter((name) => name !== "Immediate").length,
    sockets: openSockets(),
    heapMb: livingBytes().heap / 2 ** 20,
  };
}

/** Sockets among the open files of this process: unlike Node, Linux also counts those that do not keep a process alive. */
function openSockets(): number {
  if (process.platform !== "linux") return 0;
  const folder = "/proc/self/fd";
  return readdirSync(folder).filter((name) => kindOf(`${folder}/${name}`).startsWith("socket:")).length;
}

function kindOf(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    // ENOENT: the file that listed the folder is closed by now.
    return "";
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { count: { type: "string", default: "10000" }, transport: { type: "string" } } });
  const count = Number(values.count);
  const transports = cycleTransports.filter((transport) => transport === (values.transport ?? transport));
  if (!(Number.isInteger(count) && count >= 1)) fail(`--count: expected a whole number from 1 up, got ${values.count}`);
  if (transports.length === 0) fail(`--transport: expected ${cycleTransports.join(", ")}, got ${values.transport}`);
  for (const transport of transports) {
    if (!(await printCycles(count, transport))) process.exitCode = 1;
  }
}

/** Whether nothing went wrong and nothing stayed. */
async function printCycles(count: number, transport: CycleTransport): Promise<boolean> {
  console.log(row("cycles", "handles", "sockets", "heap MB"));
  const onTenth = (cycles: number, { handles, sockets, heapMb }: Holdings) => console.log(row(cycles, handles, sockets, heapMb.toFixed(1)));
  const { failures, handles, sockets, heapMb } = await runCycles({ count, transport, onTenth });
  if (failures.length > 0) console.log(`${failures.length} calls failed, first of all with`, failures[0]);
  console.log(
    `${count} cycles over ${transport}: handles ${signed(handles, 0)}, sockets ${signed(sockets, 0)}, heap ${signed(heapMb, 1)} MB`,
  );
  return failures.length === 0 && handles <= 0 && sockets <= 0 && heapMb <= maxHeapGrowthMb;
}

function row(...cells: (string | number)[]): string {
  return cells.map((cell) => String(cell).padStart(9)).join("");
}

function signed(value: number, digits: number): string {
  return `${value < 0 ? "" : "+"}${value.toFixed(digits)}`;
}

function fail(message: string): never {
  console.error(message);
  process.exit(2);
}

// A test runs the cycles by itself.
if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
