/** What a server would make of a configuration, before it has it. The rules are those of the stock TensorFlow Serving 2.20. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import {
  assertModelServerConfig,
  isAbsoluteBasePath,
  type ModelConfig,
  type ModelServerConfig,
  namedVersions,
  pickVersions,
  versionOfFolder,
} from "../model-server-config.js";
import { assertOptionNames } from "../option-checks.js";

/** Something that is wrong with a configuration. */
export interface Finding {
  /** `error`: the server refuses the configuration, or does not serve what it says; `warning`: it depends on the server, or on what is to come. */
  readonly severity: "error" | "warning";
  /** What is wrong, and what the server does then. */
  readonly message: string;
  /** Where, such as `models[1].versionLabels.canary`. */
  readonly path?: string;
}

/** Options of {@link checkModelServerConfig}. */
export interface CheckOptions {
  /** Look which versions the base paths on this machine hold. URIs are left out. @defaultValue false */
  readonly readDisk?: boolean | undefined;
}

/** Versions that stand in a message. */
const maxListed = 5;

/** The one platform that the stock server knows. */
const knownPlatform = "tensorflow";

/**
 * What the stock server would refuse or not serve, model by model; an empty list where there is nothing to say.
 *
 * Labels are a warning wherever there are any, because it depends on the server's state whether they can be set.
 *
 * @throws TypeError or RangeError if the configuration has another form.
 */
export function checkModelServerConfig(config: ModelServerConfig, options: CheckOptions = {}): Finding[] {
  assertModelServerConfig(config);
  assertOptionNames(options, { known: { readDisk: true } });
  const seen = new Set<string>();
  return config.models.flatMap((model, index) => {
    const report = new Report(model.name, `models[${index}]`);
    checkName(model, seen, report);
    checkPlatform(model, report);
    checkLogging(model, report);
    checkPolicy(model, report);
    const versions = checkBasePath(model, options.readDisk === true, report);
    checkLabels(model, versions, report);
    return report.findings;
  });
}

/** The findings of one model. */
class Report {
  readonly findings: Finding[] = [];
  readonly #name: string;
  readonly #path: string;

  constructor(name: string, path: string) {
    this.#name = name;
    this.#path = path;
  }

  error(member: string, message: string): void {
    this.#add("error", member, message);
  }

  warning(member: string, message: string): void {
    this.#add("warning", member, message);
  }

  #add(severity: Finding["severity"], member: string, message: string): void {
    this.findings.push({ severity, message: `model "${this.#name}": ${message}`, path: `${this.#path}.${member}` });
  }
}

function checkName({ name }: ModelConfig, seen: Set<string>, report: Report): void {
  if (name === "") report.error("name", 'it has no name: the server loads it, and refuses every call ("ModelSpec has no name specified.")');
  const refusal = `Illegal to list model ${name} multiple times in config list`;
  if (seen.has(name)) report.error("name", `it is listed twice: the server refuses the configuration ("${refusal}")`);
  seen.add(name);
}

function checkPlatform({ modelPlatform = "", modelType }: ModelConfig, report: Report): void {
  if ((modelPlatform === "") === (modelType === undefined)) {
    const got = modelPlatform === "" ? "neither" : "both";
    const then = "a server does not start with this, and after a reload with it refuses every later one until it is restarted";
    report.error("modelPlatform", `expected modelPlatform "${knownPlatform}" or the deprecated modelType, got ${got}: ${then}`);
    return;
  }
  const platform = modelType?.toLowerCase() ?? modelPlatform;
  if (platform === knownPlatform) return;
  const member = modelType === undefined ? "modelPlatform" : "modelType";
  report.error(
    member,
    `expected platform "${knownPlatform}", got "${platform}": the stock server refuses others ("requests unsupported platform")`,
  );
}

function checkLogging({ loggingConfig }: ModelConfig, report: Report): void {
  if (loggingConfig === undefined) return;
  const then = 'it does not start, and a reload fails ("No request-logger-creator provided.")';
  report.error("loggingConfig", `the stock server cannot log requests: ${then}`);
}

function checkPolicy({ versionPolicy: policy }: ModelConfig, report: Report): void {
  if (policy === undefined || policy === "all") return;
  if ("latest" in policy && policy.latest === 0) report.warning("versionPolicy", "{ latest: 0 } counts as { latest: 1 }");
  if ("specific" in policy && policy.specific.length === 0) {
    report.error("versionPolicy", "it names no version: the server unloads the model, and waits without limit for a new one");
  }
}

/** @returns The versions that would be loaded; `undefined` where only the disk knows them, and that was not read. */
function checkBasePath(model: ModelConfig, readDisk: boolean, report: Report): readonly bigint[] | undefined {
  const { name, basePath, versionPolicy: policy } = model;
  const named = namedVersions(policy);
  if (!isAbsoluteBasePath(basePath)) {
    const refusal = `Expected model ${name} to have an absolute path or URI; got base_path()=${basePath}`;
    report.error("basePath", `expected an absolute path or a URI, got "${basePath}": the server refuses the configuration ("${refusal}")`);
    return named;
  }
  if (!readDisk || !basePath.startsWith("/")) return named;
  const folders = readVersions(basePath, report);
  if (folders === undefined) return named;
  for (const version of named ?? []) {
    if (!folders.has(version)) report.error("versionPolicy", `version ${version} is not in ${basePath}: the server skips it`);
  }
  const picked = pickVersions(folders.keys(), policy);
  for (const version of picked) checkFolder(version, folders.get(version) ?? "", report);
  return picked;
}

/** Paths by version; `undefined` if the base path cannot be read. */
function readVersions(basePath: string, report: Report): Map<bigint, string> | undefined {
  const folders = new Map<bigint, string>();
  try {
    for (const name of readdirSync(basePath)) {
      const version = versionOfFolder(name);
      if (version !== undefined) folders.set(version, join(basePath, name));
    }
  } catch (error) {
    const then = "a server that cannot read it either leaves all its models as they are, and a reload that adds the model never ends";
    report.warning("basePath", `its versions are not known, for ${basePath} cannot be read here (${(error as Error).message}): ${then}`);
    return undefined;
  }
  if (folders.size > 0) return folders;
  report.error(
    "basePath",
    `${basePath} holds no version (a folder named by its number): the server waits without limit, or unloads the model`,
  );
  return folders;
}

function checkFolder(version: bigint, path: string, report: Report): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return;
  report.error("basePath", `${path} is no folder: version ${version} fails to load`);
}

function checkLabels(
  { name, versionPolicy, versionLabels = {} }: ModelConfig,
  loaded: readonly bigint[] | undefined,
  report: Report,
): void {
  const labels = Object.entries(versionLabels);
  if (labels.length === 0) return;
  const known = new Set(loaded);
  const found = [...[...known].slice(0, maxListed), ...(known.size > maxListed ? ["..."] : [])].join(", ") || "none";
  for (const [label, version] of labels) {
    if (loaded === undefined || known.has(BigInt(version))) continue;
    const refusal = `Request to assign label to version ${version} of model ${name}, which is not currently available for inference`;
    report.error(`versionLabels.${label}`, `version ${version} is not loaded, but ${found}: the server refuses the label ("${refusal}")`);
  }
  report.warning(
    "versionLabels",
    "a server does not start with labels unless it has --allow_version_labels_for_unavailable_models; a reload sets them only on versions that are AVAILABLE before it",
  );
  if (versionPolicy !== "all" && namedVersions(versionPolicy) === undefined) {
    report.warning(
      "versionLabels",
      "labels stay where they are when newer versions replace these, and then answer NOT_FOUND: pin the versions with { specific: [...] }",
    );
  }
}
