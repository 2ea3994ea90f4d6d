/** `tfserving types`: definitions of models as a TypeScript file, and whether such a file still says what the models do. */
import { randomUUID } from "node:crypto";
import { readFile, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { Command, InvalidArgumentError, Option } from "commander";
import type { Drift } from "../../client/definition-drift.js";
import { clientDefaults } from "../../client/options.js";
import { type DefinedModel, exportNameOf, isExportName, isModelTypesFile, modelTypesFile } from "../../codegen/model-types.js";
import { readModelTypes } from "../../codegen/read-model-types.js";
import type { ModelSpec } from "../../model-spec.js";
import { isMissing, naming } from "../../saved-model/files.js";
import { CommandError, exitCodes } from "../command-error.js";
import { type Io, jsonText } from "../io.js";
import { modelDrift } from "../model-drift.js";
import { type FoundModel, modelInFolder, modelsOfServer } from "../model-sources.js";

interface TypesOptions {
  readonly target?: string;
  readonly model?: readonly string[];
  readonly version?: bigint;
  readonly versionLabel?: string;
  readonly name?: string;
  readonly out?: string;
  readonly check?: true;
  readonly json?: true;
  readonly timeoutMs?: number;
}

/** The command, with all its options. */
export function command(io: Io): Command {
  return new Command("types")
    .usage("[options] <savedModel...> | --target <address> --model <name>")
    .argument("[savedModel...]", "folders of SavedModels: of one version, or base paths, whose newest version is read")
    .option("--target <address>", "ask a server, such as localhost:8500 or http://localhost:8501")
    .option("--model <name>", "name under which the model is served; of a server's models, may be repeated", append)
    .addOption(new Option("--version <number>", "ask the server for this version").argParser(parseVersion).conflicts("versionLabel"))
    .option("--version-label <label>", "ask the server for the version with this label")
    .option("--name <name>", "constant for the model, instead of its name in camel case")
    .option("--out <file>", "write this file, or write it again, instead of standard output")
    .option("--check", "write nothing, and tell how the models differ from the definitions in --out")
    .option("--json", "print what was found as JSON")
    .option("--timeout-ms <number>", `time that the server has (default: ${clientDefaults.timeoutMs})`, parseTimeoutMs)
    .addHelpText("after", helpEnd)
    .action((folders: string[], options: TypesOptions) => types(folders, options, io));
}

const helpEnd = `
Examples:
  tfserving types models/digits --out src/models.ts
  tfserving types --target localhost:8500 --model digits --model ranker --out src/models.ts
  tfserving types models/digits --out src/models.ts --check    in CI: ends with 1 where they differ

In a program: client.model(digits).predict({ ... })`;

async function types(folders: readonly string[], options: TypesOptions, io: Io): Promise<void> {
  checkUse(folders, options);
  const models = definedModels(await findModels(folders, options), options.name);
  if (options.check === true && options.out !== undefined) return checkFile(models, { ...options, out: options.out }, io);
  const text = modelTypesFile(models);
  if (options.out !== undefined) await replaceOwnFile(options.out, text);
  if (options.json === true) io.stdout.write(jsonText({ file: options.out ?? null, models: models.map(modelJson) }));
  else if (options.out === undefined) io.stdout.write(text);
  else io.stdout.write(`${options.out}: ${models.map(({ exportName }) => exportName).join(", ")}\n`);
}

function checkUse(folders: readonly string[], options: TypesOptions): void {
  const { target, model = [], version, versionLabel, name, out, check, timeoutMs } = options;
  const isServer = target !== undefined;
  const count = isServer ? model.length : folders.length;
  const isVersion = version !== undefined || versionLabel !== undefined;
  const checks: readonly (readonly [isWrong: boolean, message: string])[] = [
    [!isServer && count === 0, "expected folders of SavedModels, or --target and --model"],
    [isServer && folders.length > 0, "expected either folders of SavedModels or --target, got both"],
    [isServer && count === 0, "expected --model beside --target"],
    [!isServer && isVersion, "expected --target beside --version and --version-label; of a SavedModel give the version's folder"],
    [!isServer && timeoutMs !== undefined, "expected --target beside --timeout-ms: a SavedModel is read from disk"],
    [!isServer && model.length > 0 && (count !== 1 || model.length !== 1), "expected one folder and one --model, got more"],
    [isVersion && count !== 1, `expected one --model beside --version and --version-label, got ${count}`],
    [name !== undefined && count !== 1, `expected one model beside --name, got ${count}`],
    [name !== undefined && !isExportName(name), `--name: expected what a constant can be called, got ${JSON.stringify(name)}`],
    [check === true && out === undefined, "expected --out beside --check: the file to compare with"],
  ];
  const message = checks.find(([isWrong]) => isWrong)?.[1];
  if (message === undefined) return;
  throw new CommandError(message, { exitCode: exitCodes.wrongInput, hint: "tfserving types --help shows examples" });
}

async function findModels(folders: readonly string[], options: TypesOptions): Promise<FoundModel[]> {
  const { target, model = [], version, versionLabel, timeoutMs = clientDefaults.timeoutMs } = options;
  if (target !== undefined) {
    const choice = version === undefined ? { versionLabel } : { version };
    return modelsOfServer(
      target,
      model.map((name): ModelSpec => ({ name, ...choice })),
      timeoutMs,
    );
  }
  const found = await Promise.all(folders.map(modelInFolder));
  const [name] = model;
  return name === undefined ? found : found.map((one) => ({ ...one, name }));
}

function definedModels(found: readonly FoundModel[], chosenName: string | undefined): DefinedModel[] {
  const byExport = new Map<string, DefinedModel>();
  for (const model of found) {
    const exportName = chosenName ?? exportNameOf(model.name);
    const other = byExport.get(exportName);
    if (other !== undefined) {
      throw new CommandError(`models "${other.name}" and "${model.name}" would both be exported as ${exportName}`, {
        exitCode: exitCodes.wrongInput,
        hint: "write a file for each, with --name",
      });
    }
    byExport.set(exportName, { ...model, exportName });
  }
  return [...byExport.values()];
}

/** Write a file whole or not at all, and none over what something else has written. */
async function replaceOwnFile(out: string, text: string): Promise<void> {
  const path = (await ownFile(out)) ?? out;
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    await writeFile(temporary, text);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Where the file is that links may stand for; `undefined` if there is none. */
async function ownFile(out: string): Promise<string | undefined> {
  try {
    const path = await realpath(out);
    // Reading what is no file, such as a pipe, might wait for ever.
    if ((await stat(path)).isFile() && isModelTypesFile(await readFile(path, "utf8"))) return path;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  throw new CommandError(`${out}: expected a file that tfserving types has written, got another`, {
    exitCode: exitCodes.wrongInput,
    hint: "name another with --out, or delete this one",
  });
}

async function checkFile(models: readonly DefinedModel[], { out, json }: TypesOptions & { out: string }, { stdout }: Io): Promise<void> {
  const text = await readFile(out, "utf8");
  const definitions = naming(out, () => readModelTypes(text));
  const differences = models.flatMap((model) => modelDrift(model, definitions[model.exportName]));
  if (json === true) stdout.write(jsonText({ file: out, differences: differences.map(driftJson) }));
  else for (const { text: difference, isBreaking } of differences) stdout.write(`${difference}${isBreaking ? " (breaks calls)" : ""}\n`);
  if (differences.length > 0) {
    const count = differences.length === 1 ? "a difference" : `${differences.length} differences`;
    throw new CommandError(`${out}: ${count} from what the models are now`, {
      exitCode: exitCodes.refused,
      hint: "run this again without --check, and compile what uses the file",
    });
  }
  if (json !== true) stdout.write(`${out}: as the models are\n`);
}

function modelJson({ exportName, name, source, signatures }: DefinedModel): object {
  return { export: exportName, name, source, signatures };
}

function driftJson({ text, isBreaking }: Drift): object {
  return { difference: text, breaking: isBreaking };
}

function append(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}

function parseVersion(text: string): bigint {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError("Expected a whole number.");
  return BigInt(text);
}

function parseTimeoutMs(text: string): number {
  const timeoutMs = Number(text);
  if (!(timeoutMs > 0 && Number.isFinite(timeoutMs))) throw new InvalidArgumentError("Expected a positive number of milliseconds.");
  return timeoutMs;
}
