import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";
import { describe, expect, it } from "vitest";
import { CommandError, exitCodes, reportError } from "../../src/cli/command-error.js";
import { FormatError, RpcError, ServingError, SignatureError, type StatusCode } from "../../src/errors.js";
import { tfserving } from "./captured.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string };

describe("tfserving", () => {
  it("lists its commands", async () => {
    const { exitCode, stdout, stderr } = await tfserving("--help");
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    expect(stdout).toMatch(/^Usage: tfserving \[options\] \[command\]\n/);
    expect(stdout).toMatch(/^ {2}protos .* vendor and check upstream's/m);
    expect(stdout).toMatch(/^ {2}types .* write TypeScript definitions of models/m);
  });

  it("tells its version, which is the package's", async () => {
    expect(await tfserving("--version")).toEqual({ exitCode: 0, stdout: `${version}\n`, stderr: "" });
  });

  it.each([[["types", "--help"]], [["help", "types"]]])("explains a command: %j", async (args) => {
    const { exitCode, stdout } = await tfserving(...args);
    expect(exitCode).toBe(0);
    expect(stdout).toContain("Usage: tfserving types [options] <savedModel...>");
    expect(stdout).toContain("tfserving types models/digits --out src/models.ts");
    expect(stdout).toContain("--debug");
  });

  it("gives commands of commands its settings", async () => {
    const { exitCode, stderr } = await tfserving("protos", "chek");
    expect(exitCode).toBe(2);
    expect(stderr).toBe("error: unknown command 'chek'\n(Did you mean check?)\nhint: --help tells how it is used\n");
    expect((await tfserving("protos", "check", "--help")).stdout).toContain("--debug");
  });

  it("loads nothing but the list of commands for its help", async () => {
    const { metafile } = await build({
      entryPoints: [`${root}src/cli/bin.ts`],
      absWorkingDir: root,
      outdir: "out",
      bundle: true,
      splitting: true,
      format: "esm",
      platform: "node",
      packages: "external",
      write: false,
      metafile: true,
    });
    const loaded = new Set(["out/bin.js"]);
    // A set grows while it is walked.
    for (const path of loaded) {
      for (const { path: imported, kind } of metafile.outputs[path]?.imports ?? []) if (kind === "import-statement") loaded.add(imported);
    }
    const external = [...loaded].filter((path) => !path.startsWith("out/")).sort();
    expect(external).toEqual(["commander", "node:module", "node:util"]);
    const sources = [...loaded].flatMap((path) => Object.keys(metafile.outputs[path]?.inputs ?? {})).sort();
    expect(sources).toEqual(["src/cli/bin.ts", "src/cli/command-error.ts", "src/cli/main.ts", "src/error-hints.ts", "src/errors.ts"]);
  });

  it("runs in a shell", async () => {
    const tsx = ["--import", "tsx", "src/cli/bin.ts"];
    const shown = await promisify(execFile)(process.execPath, [...tsx, "--version"], { cwd: root });
    expect(shown).toEqual({ stdout: `${version}\n`, stderr: "" });
    const refused = promisify(execFile)(process.execPath, [...tsx, "types", "nowhere"], { cwd: root });
    await expect(refused).rejects.toMatchObject({ code: 2, stdout: "", stderr: expect.stringMatching(/^error: nowhere: .*\nhint: .*\n$/) });
  });
});

const rpc = { method: "predict", endpoint: "here:8500", transport: "grpc", serverMessage: "no" } as const;
const rpcError = (code: StatusCode) => new RpcError({ ...rpc, code });

describe("reportError", () => {
  function reported(error: unknown, debug = false) {
    let stderr = "";
    const stream = {
      write: (text: string) => {
        stderr += text;
      },
    };
    return { exitCode: reportError(error, { stdout: stream, stderr: stream }, { debug }), stderr };
  }

  it.each<[unknown, number]>([
    [rpcError("NOT_FOUND"), exitCodes.refused],
    [rpcError("INVALID_ARGUMENT"), exitCodes.refused],
    [rpcError("UNAVAILABLE"), exitCodes.unreachable],
    [rpcError("DEADLINE_EXCEEDED"), exitCodes.unreachable],
    [new SignatureError("predict m", ["input"]), exitCodes.wrongInput],
    [new FormatError("damaged"), exitCodes.wrongInput],
    [new ServingError("no model", { code: "NOT_FOUND" }), exitCodes.wrongInput],
    [new TypeError("target"), exitCodes.wrongInput],
    [Object.assign(new Error("no file"), { code: "ENOENT" }), exitCodes.wrongInput],
    ["a string", exitCodes.wrongInput],
    [new CommandError("differs", { exitCode: exitCodes.refused }), exitCodes.refused],
  ])("ends after %o with %i", (error, exitCode) => {
    const { stderr, ...code } = reported(error);
    expect(code).toEqual({ exitCode });
    expect(stderr).toMatch(/^error: .+\n(hint: .+\n)?$/);
  });

  it("tells an error in one line, and its hint in another", () => {
    const error = new ServingError("NOT_FOUND: m:\n  no such file", { code: "NOT_FOUND", hint: "look elsewhere" });
    expect(reported(error).stderr).toBe("error: NOT_FOUND: m: no such file\nhint: look elsewhere\n");
  });

  it("shows stack and cause for those who debug", () => {
    const { stderr } = reported(new ServingError("broken", { code: "INTERNAL", cause: new Error("underneath") }), true);
    expect(stderr).toMatch(/^ServingError: broken\n {4}at /);
    expect(stderr).toContain("[cause]: Error: underneath");
    const failed = new CommandError("failed", { exitCode: exitCodes.refused, cause: new Error("underneath") });
    expect(reported(failed, true).stderr).toContain("[cause]: Error: underneath");
  });
});

describe("rejects", () => {
  it.each<[string, string[], string]>([
    ["an unknown command, with one that is like it", ["typs"], "error: unknown command 'typs'\n(Did you mean types?)\nhint: --help"],
    ["an unknown option", ["--chek"], "error: unknown option '--chek'"],
    ["an unknown option of a command", ["types", "--chek"], "error: unknown option '--chek'\n(Did you mean --check?)\nhint: --help"],
    ["no command", [], "Usage: tfserving [options] [command]"],
  ])("%s", async (_title, args, message) => {
    const { exitCode, stdout, stderr } = await tfserving(...args);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
    expect(stderr).toContain(message);
  });
});
