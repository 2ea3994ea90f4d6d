/** The load target: a server in a process of its own that answers every call with the same prepared bytes. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

/** Options of {@link startTarget}. */
export interface TargetOptions {
  /** gRPC over HTTP/2, or HTTP/1.1. */
  readonly protocol: "grpc" | "http";
  /** The message of every gRPC answer, or the JSON text of every HTTP answer. */
  readonly answer: Uint8Array;
  /** Flow-control window the target offers for requests, in bytes, for gRPC. @defaultValue targetWindowBytes */
  readonly window?: number;
}

/** A running load target. */
export interface Target {
  /** Port on 127.0.0.1. */
  readonly port: number;
  /** The C server, or Node where there is no C compiler; that one hides differences between clients. */
  readonly kind: "c" | "node";
  close(): Promise<void>;
}

/** Large enough that no client ever waits for the target's window. */
export const targetWindowBytes = 64 * 1024 * 1024;

const folder = resolve("scripts/bench/target");
let compiled: string | undefined;

/** Start a load target; the C server is compiled once per process. */
export async function startTarget({ protocol, answer, window = targetWindowBytes }: TargetOptions): Promise<Target> {
  compiled ??= compile();
  const kind = compiled === "" ? "node" : "c";
  const args = [protocol, String(answer.length), String(window)];
  const server =
    kind === "c"
      ? spawn(compiled, args, { stdio: ["pipe", "pipe", "inherit"] })
      : spawn(process.execPath, [join(folder, "fallback.mjs"), ...args], { stdio: ["pipe", "pipe", "inherit"] });
  const exited = once(server, "exit");
  server.stdin.write(answer);
  const printed = await Promise.race([once(server.stdout, "data"), exited.then(() => undefined)]);
  if (printed === undefined) throw new Error(`the load target ended with status ${server.exitCode} before it listened`);
  return {
    port: Number(String(printed[0])),
    kind,
    async close() {
      server.stdin.end();
      await exited;
    },
  };
}

/** Compile the C server into a temporary folder; its path, or "" without a compiler. */
function compile(): string {
  const temporary = mkdtempSync(join(tmpdir(), "tfserving-bench-"));
  process.on("exit", () => rmSync(temporary, { recursive: true, force: true }));
  const server = join(temporary, "server");
  const compiler = ["cc", "gcc", "clang"].find(
    (name) => spawnSync(name, ["-O2", "-o", server, join(folder, "server.c")], { stdio: "ignore" }).status === 0,
  );
  return compiler === undefined ? "" : server;
}
