/** Servers and clients in processes of their own, which can be stopped and resumed as a system does it. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { ModelName } from "./models.js";

/** What a server process tells when it listens. */
export interface ServerReport {
  readonly grpcPort: number;
  readonly restPort: number;
}

/** What a client process is asked to call. */
export interface CallRequest {
  readonly id: number;
  readonly model: ModelName;
  readonly x: number;
  readonly timeoutMs: number;
}

/** What became of a call of a client process; `id` 0: it is ready. */
export interface CallOutcome {
  readonly id: number;
  readonly answer?: unknown;
  readonly error?: string;
}

/** A process that can be stopped as a whole. */
export interface StoppableProcess {
  /** It runs no more, as after SIGSTOP, until {@link StoppableProcess.resume}. */
  stop(): void;
  resume(): void;
  /** Kill it, stopped or not; settles when it is gone. */
  kill(): Promise<void>;
}

/** A server in a process of its own. */
export interface ServerProcess extends StoppableProcess {
  readonly ports: ServerReport;
  targetOf(transport: "grpc" | "rest"): string;
}

/** A client in a process of its own. */
export interface ClientProcess extends StoppableProcess {
  /** What it says of one call: the answer, or the message of the error. */
  call(model: ModelName, x: number, timeoutMs?: number): Promise<Omit<CallOutcome, "id">>;
}

/** Start a server of the models of `models.ts`, on free ports or given ones. */
export async function startServerProcess({ grpcPort, restPort }: ServerReport = { grpcPort: 0, restPort: 0 }): Promise<ServerProcess> {
  const child = start("./server-process.ts", [String(grpcPort), String(restPort)]);
  const ports = (await firstMessage(child)) as ServerReport;
  return {
    ...stoppable(child),
    ports,
    targetOf: (transport) => (transport === "grpc" ? `127.0.0.1:${ports.grpcPort}` : `http://127.0.0.1:${ports.restPort}`),
  };
}

/** Start a client with default options. */
export async function startClientProcess(target: string): Promise<ClientProcess> {
  const child = start("./client-process.ts", [target]);
  const waiting = new Map<number, (outcome: Omit<CallOutcome, "id">) => void>();
  child.on("message", ({ id, ...outcome }: CallOutcome) => waiting.get(id)?.(outcome));
  let calls = 0;
  await firstMessage(child);
  return {
    ...stoppable(child),
    call: (model, x, timeoutMs = 20_000) =>
      new Promise((resolve) => {
        calls++;
        waiting.set(calls, resolve);
        child.send({ id: calls, model, x, timeoutMs } satisfies CallRequest);
      }),
  };
}

function start(program: string, args: readonly string[]): ChildProcess {
  return fork(fileURLToPath(new URL(program, import.meta.url)), [...args], { execArgv: ["--import", "tsx"] });
}

async function firstMessage(child: ChildProcess): Promise<unknown> {
  const ended = once(child, "exit").then(([status]) => {
    throw new Error(`${child.spawnargs.at(-1)}: the process ended with status ${status} before it was ready`);
  });
  ended.catch(() => undefined);
  const [message] = await Promise.race([once(child, "message"), ended]);
  return message;
}

function stoppable(child: ChildProcess): StoppableProcess {
  return {
    stop: () => void child.kill("SIGSTOP"),
    resume: () => void child.kill("SIGCONT"),
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGKILL");
      await once(child, "exit");
    },
  };
}
