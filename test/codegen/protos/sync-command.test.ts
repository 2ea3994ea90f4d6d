/** `tfserving protos sync` as a process of its own: signals, closed pipes and what a terminal gets to see. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type CannedRestServer, startCannedRestServer } from "../../support/canned-rest-server.js";
import { copyProject, type ProjectCopy } from "./project-copy.js";
import { tarOf } from "./tar-of.js";

const timeoutMs = 60_000;
const bin = fileURLToPath(new URL("../../../src/cli/bin.ts", import.meta.url));
const tsx = import.meta.resolve("tsx");

/** Of one file, whose name for another would set the title of a terminal. */
const archive = gzipSync(tarOf([{ path: "s/m.proto", content: 'syntax = "proto3";\nimport "\u001b]0;title\u0007.proto";\n' }]));

let server: CannedRestServer;
let project: ProjectCopy;

beforeAll(async () => {
  server = await startCannedRestServer();
});
afterAll(() => server.close());
beforeEach(async () => {
  project = await copyProject(["package.json"]);
});
afterEach(() => project.remove());

function start(...args: string[]): ChildProcessWithoutNullStreams {
  return spawn(process.execPath, ["--import", tsx, bin, "protos", ...args], { cwd: project.folder });
}

function startSync(...more: string[]): ChildProcessWithoutNullStreams {
  const sources = ["tensorflow", "serving"].flatMap((name) => [`--${name}`, "2.20.0", `--${name}-url`, `${server.url}/{version}`]);
  return start("sync", ...sources, "--roots", "m.proto", ...more);
}

/** Exit code and what it printed. */
async function endOf(child: ChildProcessWithoutNullStreams): Promise<{ exitCode: unknown; stdout: string; stderr: string }> {
  const [stdout, stderr, [exitCode]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  return { exitCode, stdout, stderr };
}

describe("tfserving protos sync", () => {
  it.each<NodeJS.Signals[]>([["SIGTERM"], ["SIGHUP"], ["SIGINT", "SIGINT", "SIGTERM"]])(
    "cleans up behind itself after %s",
    { timeout: timeoutMs },
    async (...signals) => {
      const child = startSync();
      server.answer = () => {
        for (const signal of signals) child.kill(signal);
        return "hang";
      };
      expect(await endOf(child)).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("error: interrupted\n") });
      expect((await readdir(project.folder)).sort()).toEqual(["node_modules", "package.json"]);
    },
  );

  it("goes on where nobody reads of its progress any more", { timeout: timeoutMs }, async () => {
    const child = startSync();
    const end = once(child, "exit");
    let requests = 0;
    server.answer = () => {
      requests += 1;
      child.stderr.destroy();
      if (requests === 1) return { status: 200, body: archive };
      child.kill("SIGTERM");
      return "hang";
    };
    expect(await end).toEqual([1, null]);
    expect(requests).toBe(2);
    expect((await readdir(project.folder)).sort()).toEqual(["node_modules", "package.json"]);
  });

  it("shows control characters of an archive, and does not send them", { timeout: timeoutMs }, async () => {
    server.answer = () => ({ status: 200, body: archive });
    const { exitCode, stderr } = await endOf(startSync());
    expect(exitCode).toBe(1);
    expect(stderr).toContain("\\u{1b}]0;title\\u{7}");
    expect(stderr.replaceAll("\n", "")).not.toMatch(/\p{C}/u);
  });

  it("ends with 1 for a lock that is broken, and shows all of the error where it is asked to", { timeout: timeoutMs }, async () => {
    await mkdir(join(project.folder, "protos"));
    await writeFile(join(project.folder, "protos/protos.lock.json"), "{");
    const { exitCode, stderr } = await endOf(startSync("--debug"));
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/^CommandError: .*protos\.lock\.json: expected JSON\n {4}at /m);
    expect(stderr).toMatch(/\[cause\]: FormatError: .*\[cause\]: SyntaxError: /s);
    const checked = await endOf(start("check", "--json"));
    expect(checked).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/^error: .*: expected JSON\n$/) });
    expect(JSON.parse(checked.stdout)).toEqual({ findings: [expect.stringMatching(/protos\.lock\.json: expected JSON$/)] });
  });

  it("ends with 1 for what the file system says, and with 2 for options that cannot be meant", { timeout: timeoutMs }, async () => {
    const inFile = await endOf(startSync("--out", "package.json/protos"));
    expect(inFile).toMatchObject({ exitCode: 1, stdout: "", stderr: expect.stringMatching(/^error: ENOTDIR: .*\n$/) });
    expect(await endOf(startSync("--out", "."))).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining("expected a folder of its own"),
    });
    expect((await readdir(project.folder)).sort()).toEqual(["node_modules", "package.json"]);
  });
});
