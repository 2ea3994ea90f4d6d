/** The bundled programs `*-process.ts`, each in a process of its own, so that one's garbage and compiled code do not hit another. */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Start a program by its name without `-process.ts`; its output goes to ours. */
export function startProgram(name: string, args: readonly (string | number)[] = [], execArgv: readonly string[] = []): ChildProcess {
  return fork(fileURLToPath(new URL(`${name}-process.mjs`, import.meta.url)), args.map(String), { execArgv: [...execArgv] });
}

/**
 * The next message of a program.
 *
 * @throws Error if it ends without one.
 */
export function messageFrom(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onExit = (status: number | null) => reject(new Error(`${child.spawnargs[1]} ended with status ${status} before it answered`));
    child.once("exit", onExit);
    child.once("message", (message) => {
      child.off("exit", onExit);
      resolve(message);
    });
  });
}

/** Send the parent a message. */
export function sendToParent(message: unknown): void {
  if (process.send === undefined) throw new Error("expected a parent process: this program is started by `npm run bench`");
  process.send(message);
}
