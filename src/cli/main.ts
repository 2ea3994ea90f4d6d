/** The program `tfserving`: which commands there are. A command's code is loaded when it is called, so that help is quick. */
import { createRequire } from "node:module";
import { Command, Option } from "commander";
import { exitCodes, reportError } from "./command-error.js";
import type { Io } from "./io.js";

interface CommandEntry {
  readonly name: string;
  /** One line, for the list of commands. */
  readonly description: string;
  /** The module of the command, which makes it with all its options. */
  readonly load: () => Promise<{ command(io: Io): Command }>;
  /** Exit code where its options are wrong. @defaultValue exitCodes.wrongInput */
  readonly wrongUsage?: number;
}

const commands: readonly CommandEntry[] = [
  {
    name: "protos",
    description: "vendor and check upstream's .proto files, and the TypeScript generated from them",
    load: () => import("./commands/protos.js"),
  },
  {
    name: "serve",
    description: "serve models over gRPC and REST as TensorFlow Serving does, with JavaScript in place of graphs",
    load: () => import("./commands/serve.js"),
    wrongUsage: exitCodes.notStarted,
  },
  {
    name: "types",
    description: "write TypeScript definitions of models, which give calls their types",
    load: () => import("./commands/types.js"),
  },
];

/**
 * Run the program.
 *
 * @param args - What stands behind its name.
 * @returns The exit code: 0 done, 1 the server or model said no, 2 wrong usage or input, 3 the server was not reached in time, 255 `serve`
 * did not start.
 */
export async function run(args: readonly string[], io: Io): Promise<number> {
  try {
    const program = await programFor(args, io);
    await program.parseAsync(args, { from: "user" });
    return exitCodes.ok;
  } catch (error) {
    const called = commands.find(({ name }) => name === args.find((arg) => !arg.startsWith("-")));
    return reportError(error, io, { debug: args.includes("--debug"), wrongUsage: called?.wrongUsage });
  }
}

async function programFor(args: readonly string[], { stdout, stderr }: Io): Promise<Command> {
  const program = new Command("tfserving")
    .description("TensorFlow Serving from the command line.")
    .version(packageVersion())
    // Options of the program stand before the command, so that commands may have a --version of their own.
    .enablePositionalOptions()
    .exitOverride()
    .showHelpAfterError("hint: --help tells how it is used")
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
      getOutHelpWidth: () => stdout.columns ?? 80,
      getErrHelpWidth: () => stderr.columns ?? 80,
    });
  for (const { name, description, load } of commands) {
    const command = args.includes(name) ? (await load()).command({ stdout, stderr }) : new Command(name);
    program.addCommand(command.description(description));
  }
  withSettingsOf(program, program.commands);
  return program.addOption(debugOption());
}

/** What commander passes on only to commands that it makes itself. */
function withSettingsOf(parent: Command, children: readonly Command[]): void {
  for (const child of children) {
    withSettingsOf(parent, child.copyInheritedSettings(parent).addOption(debugOption()).commands);
  }
}

function debugOption(): Option {
  return new Option("--debug", "show all there is to know of an error");
}

/** From the manifest that the running file belongs to, which the package finds by its own name. */
function packageVersion(): string {
  const manifest = createRequire(import.meta.url)("tfserving/package.json") as { version: string };
  return manifest.version;
}
