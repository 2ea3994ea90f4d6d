/** A server of the soak as the soak sees it: it is killed and comes back on the same ports. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("./server-process.ts", import.meta.url));

/** What the server tells of itself twice a second. */
interface Report {
  readonly grpcPort: number;
  readonly restPort: number;
  readonly refused: number;
}

export class Endpoint {
  readonly #refusedShare: number;
  #child: ChildProcess | undefined;
  #report: Report = { grpcPort: 0, restPort: 0, refused: 0 };
  #refusedBefore = 0;

  /** @param refusedShare - Share of calls that are answered with UNAVAILABLE. */
  constructor(refusedShare: number) {
    this.#refusedShare = refusedShare;
  }

  get grpcTarget(): string {
    return `127.0.0.1:${this.#report.grpcPort}`;
  }

  get restTarget(): string {
    return `http://127.0.0.1:${this.#report.restPort}`;
  }

  /** Calls refused as far as it told, over all its lives. */
  get refused(): number {
    return this.#refusedBefore + this.#report.refused;
  }

  /** Settles when the server listens. */
  async start(): Promise<void> {
    const args = [this.#report.grpcPort, this.#report.restPort, this.#refusedShare].map(String);
    const child = fork(program, args, { execArgv: ["--import", "tsx"] });
    this.#child = child;
    const ended = once(child, "exit").then(([status]) => {
      throw new Error(`a server of the soak ended with status ${status} before it listened`);
    });
    ended.catch(() => undefined);
    child.on("message", (report: Report) => {
      this.#report = report;
    });
    await Promise.race([once(child, "message"), ended]);
  }

  /** Have the server hang for a time, and go on. */
  async hang(durationMs: number): Promise<void> {
    this.#child?.kill("SIGSTOP");
    await pause(durationMs);
    this.#child?.kill("SIGCONT");
  }

  /** Kill the server in the middle of its work; settles when it is gone. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
    this.#refusedBefore += this.#report.refused;
    this.#report = { ...this.#report, refused: 0 };
  }
}
