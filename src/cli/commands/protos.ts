/** `tfserving protos`: upstream's `.proto` files in a project, the code generated from them, and whether both are as they should be. */
import { Command, Option } from "commander";
import { checkProtos } from "../../codegen/protos/check.js";
import { reportLines } from "../../codegen/protos/report.js";
import { releaseUrls } from "../../codegen/protos/sources.js";
import { type SyncResult, syncDefaults, syncProtos } from "../../codegen/protos/sync.js";
import { isServingError } from "../../errors.js";
import { CommandError, exitCodes, printable } from "../command-error.js";
import type { Io } from "../io.js";

interface CheckOptions {
  readonly out: string;
  readonly gen: string;
  readonly json?: true;
}

interface SyncOptions extends CheckOptions {
  readonly tensorflow: string;
  readonly serving: string;
  readonly tensorflowDir?: string;
  readonly servingDir?: string;
  readonly tensorflowUrl: string;
  readonly servingUrl: string;
  readonly roots?: readonly string[];
  readonly allowBreaking?: true;
  readonly typeCheck: boolean;
}

/** The command, with all its subcommands and their options. */
export function command(io: Io): Command {
  return new Command("protos").addCommand(syncCommand(io)).addCommand(checkCommand(io));
}

function syncCommand(io: Io): Command {
  return withFolders(new Command("sync"))
    .description("take the .proto files of two releases, tell what changes, and generate TypeScript from them")
    .requiredOption("--tensorflow <version>", "version of TensorFlow, such as 2.20.0")
    .requiredOption("--serving <version>", "version of TensorFlow Serving")
    .option("--tensorflow-dir <folder>", "take TensorFlow's source tree from here")
    .option("--serving-dir <folder>", "take TensorFlow Serving's source tree from here")
    .addOption(urlOption("tensorflow"))
    .addOption(urlOption("serving"))
    .option(
      "--roots <path...>",
      "files, and folders of files, that are wanted with all they import (default: the ones of last time, at first all that clients and models use)",
    )
    .option("--allow-breaking", "also where the new interface breaks the old one")
    .option("--no-type-check", "keep the new folders whatever TypeScript says of the project")
    .addHelpText("after", syncHelpEnd)
    .action((options: SyncOptions) => sync(options, io));
}

const syncHelpEnd = `
Needs @bufbuild/buf and ts-proto in the project. On any error both folders stay as they were.

Examples:
  tfserving protos sync --tensorflow 2.20.0 --serving 2.20.0 --out src/protos --gen src/gen
  tfserving protos sync --tensorflow 2.20.0 --serving 2.20.0 --tensorflow-dir ~/tensorflow --serving-dir ~/serving`;

function checkCommand(io: Io): Command {
  return withFolders(new Command("check"))
    .description("whether the .proto files are those of their lock file, complete, and what the TypeScript was generated from")
    .action((options: CheckOptions) => check(options, io));
}

function withFolders(command: Command): Command {
  return command
    .option("--out <folder>", "the .proto files and their lock", syncDefaults.out)
    .option("--gen <folder>", "the generated TypeScript", syncDefaults.gen)
    .option("--json", "print the result as JSON");
}

function urlOption(project: keyof typeof releaseUrls): Option {
  return new Option(`--${project}-url <pattern>`, "take the release's .tar.gz from a mirror")
    .env(`TFSERVING_${project.toUpperCase()}_URL`)
    .default(releaseUrls[project]);
}

async function sync(options: SyncOptions, io: Io): Promise<void> {
  const { out, gen, roots, allowBreaking, typeCheck } = options;
  const result = await untilInterrupted((signal) =>
    syncProtos({
      tensorflow: { version: options.tensorflow, directory: options.tensorflowDir, url: options.tensorflowUrl },
      serving: { version: options.serving, directory: options.servingDir, url: options.servingUrl },
      project: process.cwd(),
      ...{ out, gen, roots, allowBreaking, typeCheck, signal },
      onProgress: (line) => io.stderr.write(printable(`${line}\n`)),
    }),
  );
  io.stdout.write(options.json === true ? `${JSON.stringify(result, null, 2)}\n` : printable(resultText(result, options)));
  const [first] = result.report.refusals;
  if (result.applied || first === undefined) return;
  throw new CommandError(`refused, for ${result.report.refusals.length} of the changes: ${first}`, {
    exitCode: exitCodes.refused,
    hint: "--allow-breaking goes on nevertheless",
  });
}

async function check({ out, gen, json }: CheckOptions, io: Io): Promise<void> {
  const findings = await untilInterrupted((signal) => checkProtos({ project: process.cwd(), out, gen, signal }));
  if (json === true) io.stdout.write(`${JSON.stringify({ findings }, null, 2)}\n`);
  else for (const finding of findings) io.stdout.write(printable(`${finding}\n`));
  if (findings.length > 0) {
    throw new CommandError(`${out} and ${gen}: ${findings.length} findings, the first is ${findings[0]}`, { exitCode: exitCodes.refused });
  }
  if (json !== true) io.stdout.write(`${out} and ${gen} are as the lock and the generator say\n`);
}

/** As many findings of a linter as somebody reads; JSON has them all. */
const maxShownFindings = 20;

function resultText({ report, applied, files, wireDigest, lint, breaking, typeCheck }: SyncResult, { out, gen }: CheckOptions): string {
  const done = applied ? [`${out}: ${files} files, wire digest ${wireDigest}`, `${gen}: generated, type check ${typeCheck}`] : [];
  return [...reportLines(report), ...findingLines("buf lint", lint), ...findingLines("buf breaking", breaking), ...done, ""].join("\n");
}

function findingLines(what: string, findings: readonly string[]): string[] {
  if (findings.length === 0) return [];
  const hidden = findings.length - maxShownFindings;
  const lines = findings.slice(0, maxShownFindings).map((finding) => `  ${finding}`);
  return [`${what}, for information:`, ...lines, ...(hidden > 0 ? [`  and ${hidden} more`] : [])];
}

const endSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Ctrl-C and its like end the work, which then cleans up behind itself; neither a second one nor a closed stderr keeps it from that. */
async function untilInterrupted<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const interrupted = new AbortController();
  const abort = () => interrupted.abort(new CommandError("interrupted", { exitCode: exitCodes.refused }));
  for (const name of endSignals) process.on(name, abort);
  process.stderr.on("error", ignoreError);
  try {
    return await work(interrupted.signal);
  } catch (error) {
    throw commandErrorOf(error);
  } finally {
    for (const name of endSignals) process.off(name, abort);
    process.stderr.off("error", ignoreError);
  }
}

/** Wrong options are told as `RangeError`s. All else, also what the file system says, is a failure of what was wanted. */
function commandErrorOf(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof RangeError || error instanceof CommandError) return error;
  if (!isServingError(error)) return new CommandError(error.message, { exitCode: exitCodes.refused, cause: error });
  const exitCode = error.code === "UNAVAILABLE" ? exitCodes.unreachable : exitCodes.refused;
  return new CommandError(error.message, { exitCode, ...(error.hint === undefined ? {} : { hint: error.hint }), cause: error });
}

/** Of a pipe or terminal that is closed: nobody reads of the progress, which is no reason to stop half-way. */
function ignoreError(): void {}
