/** `tfserving serve`: the embedded model server as a process, with the flags of the real one. */
import { once } from "node:events";
import { Command } from "commander";
import { isServingError } from "../../errors.js";
import type { LoadFailure, StateChange } from "../../server/model-options.js";
import { type ModelServer, startModelServer } from "../../server/model-server.js";
import { CommandError, exitCodes, printable } from "../command-error.js";
import type { Io } from "../io.js";
import { type ServerFlags, serverFlags, serverOptionsFrom } from "../server-flags.js";

/** The command, with all its options. */
export function command(io: Io): Command {
  const serveCommand = new Command("serve")
    .usage("[options] --servable <module>")
    .argument("[unknown...]")
    .allowUnknownOption()
    .addHelpText("after", helpEnd)
    .action((unknown: readonly string[], flags: ServerFlags) => serve(flags, unknown, io));
  for (const flag of serverFlags()) serveCommand.addOption(flag);
  return serveCommand;
}

const helpEnd = `
The module has a default export: models, as { name: servable }, or a function
loadServable(versionDir, { name, version }) that makes a servable of a version's folder.

Examples:
  tfserving serve --servable models.js
  tfserving serve --servable load.js --model_name=digits --model_base_path=/models/digits
  tfserving serve --servable load.js --model_config_file=models.config --enable_batching

Other flags of the real server are told and ignored. SIGTERM and SIGINT end the server with 0,
what keeps it from starting ends it with 255.`;

async function serve(flags: ServerFlags, unknown: readonly string[], io: Io): Promise<void> {
  const ending = new AbortController();
  const stopped = Promise.race(["SIGTERM", "SIGINT"].map((name) => once(process, name, { signal: ending.signal })));
  if (unknown.length > 0) io.stderr.write(printable(`unknown argument: ${unknown.join(" ")}\n`));
  try {
    const server = await Promise.race([start(flags, io), stopped.then(() => undefined)]);
    // Nothing else ends a start that waits for a model's first version; nobody has been served yet.
    if (server === undefined) process.exit(exitCodes.ok);
    io.stdout.write(`gRPC on ${server.grpcTarget}, REST on ${server.restTarget}\n`);
    await stopped;
    await server.close();
  } finally {
    ending.abort();
  }
}

async function start(flags: ServerFlags, { stderr }: Io): Promise<ModelServer> {
  const log = (line: string) => stderr.write(printable(`${line}\n`));
  try {
    return await startModelServer({
      ...(await serverOptionsFrom(flags)),
      onStateChange: (change) => log(lineOf(change)),
      onLoadFailure: (failure) => log(failureLineOf(failure)),
    });
  } catch (error) {
    throw startError(error);
  }
}

/** A version that fails is LOADING until its last attempt; here is why. */
function failureLineOf({ name, version, attempt, error }: LoadFailure): string {
  return `${name} version ${version}: attempt ${attempt} failed (${error.code}: ${error.message})`;
}

function lineOf({ name, version, state, error }: StateChange): string {
  return `${name} version ${version}: ${state}${error === undefined ? "" : ` (${error.code}: ${error.message})`}`;
}

function startError(error: unknown): CommandError {
  // Where a file cannot be parsed the real server's text does not say why.
  const hint = isServingError(error) && isServingError(error.cause, "FormatError") ? { hint: error.cause.message } : {};
  const failure = new CommandError(textOf(error), { exitCode: exitCodes.notStarted, ...hint });
  failure.cause = error;
  return failure;
}

function textOf(error: unknown): string {
  if (isServingError(error)) return `${error.code}: ${error.message}`;
  return error instanceof Error ? error.message : String(error);
}
