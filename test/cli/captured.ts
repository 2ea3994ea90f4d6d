/** The program in this process, with what it writes. */
import { run } from "../../src/cli/main.js";

export interface Ran {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Run `tfserving` with these arguments. */
export async function tfserving(...args: string[]): Promise<Ran> {
  const written = { stdout: "", stderr: "" };
  const stream = (name: keyof typeof written) => ({
    write: (text: string) => {
      written[name] += text;
    },
  });
  const exitCode = await run(args, { stdout: stream("stdout"), stderr: stream("stderr") });
  return { exitCode, ...written };
}
