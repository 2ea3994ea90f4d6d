import { once } from "node:events";
import { cp, mkdir, readdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { checkProtos } from "../../../src/codegen/protos/check.js";
import { compareTrees } from "../../../src/codegen/protos/compare-trees.js";
import { filesBelow } from "../../../src/codegen/protos/files-below.js";
import { readLock } from "../../../src/codegen/protos/lock.js";
import { reportLines } from "../../../src/codegen/protos/report.js";
import { type SyncOptions, type SyncResult, syncProtos } from "../../../src/codegen/protos/sync.js";
import { type CannedAnswer, type CannedRestServer, startCannedRestServer } from "../../support/canned-rest-server.js";
import { copyProject, type ProjectCopy } from "./project-copy.js";
import { releaseArchive, tarOf } from "./tar-of.js";
import { knownVersions, type UpstreamTrees, upstreamTrees, writeTree } from "./upstream-trees.js";

/** Each starts and ends several programs on machines with little to spare. */
const timeoutMs = 120_000;

/** Few files, which compile and generate quickly. */
const roots = ["tensorflow_serving/apis/predict.proto", "tensorflow_serving/apis/model_service.proto"];
const types = "tensorflow/core/framework/types.proto";
const status = "tensorflow_serving/apis/status.proto";
const model = "tensorflow_serving/apis/model.proto";

/** What the facts of 2.20.0 and 2.21.0 differ in: kind, name and what is said of it in 2.21.0. */
const differences = [
  ["oneof", "tensorflow.TensorSliceProto.Extent.has_length", "tensorflow.TensorSliceProto.Extent.has_length_hack"],
  ["value", "tensorflow.DataType.DT_FLOAT4_E2M1FN", "33"],
  ["value", "tensorflow.DataType.DT_FLOAT4_E2M1FN_REF", "133"],
  ["field", "tensorflow.ConfigProto.Experimental.online_cost_analysis", "36 implicit bool"],
  ["field", "tensorflow.ConfigProto.Experimental.tf2xla_dump_dir", "35 implicit string"],
  ["message", "tensorflow.serving.PredictRequest.RequestOptions.Handshake", ""],
  ["field", "tensorflow.serving.PredictRequest.RequestOptions.Handshake.estimated_payload_bytes", "1 implicit int64"],
  [
    "field",
    "tensorflow.serving.PredictRequest.RequestOptions.handshake",
    "13 optional message tensorflow.serving.PredictRequest.RequestOptions.Handshake",
  ],
];

/** What docs/new-tensorflow-version.md shows of the report in words. */
const page = await readFile(new URL("../../../docs/new-tensorflow-version.md", import.meta.url), "utf8");
const shownOnPage =
  /^```\n(TensorFlow .*?)\n```/ms
    .exec(page)?.[1]
    ?.split("\n")
    .filter((line) => line !== "...") ?? [];

let project: ProjectCopy;
let server: CannedRestServer;
/** Archives by path of the URL. */
const answers = new Map<string, CannedAnswer>();

function urlOf(name: keyof UpstreamTrees): string {
  return `${server.url}/${name}/v{version}.tar.gz`;
}

/** What to take from the local server; everything there is in it. */
function archives(version: string, more: Partial<SyncOptions> = {}): SyncOptions {
  const source = (name: keyof UpstreamTrees) => ({ version, url: urlOf(name) });
  return { project: project.folder, tensorflow: source("tensorflow"), serving: source("serving"), typeCheck: false, ...more };
}

function serve(version: string, trees: UpstreamTrees): void {
  for (const name of ["tensorflow", "serving"] as const) {
    answers.set(`/${name}/v${version}.tar.gz`, { status: 200, body: releaseArchive(`${name}-${version}`, trees[name]) });
  }
}

async function serveEdited(edit: (trees: UpstreamTrees) => void): Promise<void> {
  const trees = await upstreamTrees("2.20.0");
  edit(trees);
  serve("2.20.1", trees);
}

function replaceIn(files: Map<string, string>, path: string, from: string, to: string): void {
  const text = files.get(path);
  if (text?.includes(from) !== true) throw new Error(`${path}: expected ${from}`);
  files.set(path, text.replace(from, to));
}

/** What {@link differences} has of a change. */
function changesOf({ report }: SyncResult) {
  return report.changes.map(({ kind, name, before, after }) => [kind, name, after ?? before]);
}

beforeAll(async () => {
  server = await startCannedRestServer(({ target }) => answers.get(target) ?? { status: 404 });
  for (const version of Object.keys(knownVersions)) serve(version, await upstreamTrees(version));
});
afterAll(() => server.close());

describe("syncProtos in a copy of this repository", () => {
  beforeAll(async () => {
    project = await copyProject(["package.json", "tsconfig.json", "src", "gen", "protos"]);
    // Whatever version this repository is at, the story begins with 2.20.0.
    await syncProtos(archives("2.20.0"));
  }, timeoutMs);
  afterAll(() => project.remove());

  it("goes from 2.20.0 to 2.21.0 with local source trees, and tells all that differs", { timeout: timeoutMs }, async () => {
    const trees = await upstreamTrees("2.21.0");
    const [tensorflow, serving] = [join(project.folder, "..", "tf"), join(project.folder, "..", "serving")].map(
      (path) => `${path}-${process.pid}`,
    );
    if (tensorflow === undefined || serving === undefined) throw new Error("no folders");
    try {
      await writeTree(tensorflow, trees.tensorflow);
      await writeTree(serving, trees.serving);
      const result = await syncProtos({
        project: project.folder,
        tensorflow: { version: "2.21.0", directory: tensorflow, url: "" },
        serving: { version: "2.21.0", directory: serving, url: "" },
      });
      expect(changesOf(result)).toEqual(differences);
      expect(reportLines(result.report)).toEqual(expect.arrayContaining(shownOnPage));
      expect(result.report).toMatchObject({ files: { added: [], removed: [], moved: [] }, refusals: [] });
      expect(result).toMatchObject({ applied: true, files: 65, lint: [], typeCheck: "passed" });
      expect(result.breaking).toEqual([expect.stringContaining('moved from oneof "has_length" to oneof "has_length_hack"')]);
      expect(await readLock(join(project.folder, "protos"))).toMatchObject({
        tensorflow: "2.21.0",
        serving: "2.21.0",
        origin: "directory",
        wireDigest: knownVersions["2.21.0"]?.wireDigest,
      });
      expect(await readFile(join(project.folder, "gen/tensorflow/core/framework/types.ts"), "utf8")).toContain("DT_FLOAT4_E2M1FN = 33");
    } finally {
      for (const folder of [tensorflow, serving]) await rm(folder, { recursive: true, force: true });
    }
  });

  it("goes back with archives, and has the first tree again, byte for byte", { timeout: timeoutMs }, async () => {
    const result = await syncProtos(archives("2.20.0"));
    expect(changesOf(result)).toEqual(
      differences.map(([kind, name, after]) => (kind === "oneof" ? [kind, after, name] : [kind, name, after])),
    );
    expect(result).toMatchObject({ applied: true, wireDigest: knownVersions["2.20.0"]?.wireDigest });
    expect(await checkProtos({ project: project.folder })).toEqual([]);
    for (const [path, text] of Object.entries(await filesOf(await upstreamTrees("2.20.0")))) {
      expect(await readFile(join(project.folder, "protos", path), "utf8")).toBe(text);
    }
  });
});

/** The files of both trees that are vendored, by the path they are imported by. */
async function filesOf({ tensorflow, serving }: UpstreamTrees): Promise<Record<string, string>> {
  const all = [...tensorflow, ...serving].map(([path, text]): [string, string] => [path.replace(/^third_party\/xla\//, ""), text]);
  return Object.fromEntries(all.filter(([path]) => path.endsWith(".proto") && !path.includes("unused")));
}

/** What to take from the local server, without most of it. */
function few(version: string, more: Partial<SyncOptions> = {}): SyncOptions {
  return archives(version, { roots, ...more });
}

describe("syncProtos", () => {
  let first: ProjectCopy;
  beforeAll(async () => {
    first = await copyProject(["package.json"]);
    project = first;
    await mkdir(join(first.folder, "protos"));
    await writeFile(join(first.folder, "protos/README.md"), "# ours\n");
    await syncProtos(few("2.20.0"));
  }, timeoutMs);
  afterAll(() => first.remove());

  beforeEach(async () => {
    project = await copyProject(["package.json"]);
    for (const name of ["protos", "gen"]) await cp(join(first.folder, name), join(project.folder, name), { recursive: true });
  });
  afterEach(() => project.remove());

  /** Fails unless both folders are as they were, and nothing else lies about. */
  async function expectUntouched(): Promise<void> {
    for (const name of ["protos", "gen"]) expect(await compareTrees(join(first.folder, name), join(project.folder, name))).toEqual([]);
    expect((await readdir(project.folder)).sort()).toEqual(["gen", "node_modules", "package.json", "protos"]);
  }

  it("keeps what else is in the folder of the tree, and leaves nothing behind", async () => {
    expect(await readFile(join(project.folder, "protos/README.md"), "utf8")).toBe("# ours\n");
    expect(await readLock(join(project.folder, "protos"))).toMatchObject({ tensorflow: "2.20.0", origin: "archive" });
    await expectUntouched();
  });

  it("gives the same folders for the same sources", { timeout: timeoutMs }, async () => {
    const { report } = await syncProtos(few("2.20.0"));
    expect(report).toMatchObject({ changes: [], files: { added: [], removed: [], moved: [] } });
    await expectUntouched();
  });

  it("takes a root and its imports, into folders of one's choice", { timeout: timeoutMs }, async () => {
    const options = { out: "my/protos", gen: "my/gen", roots: ["tensorflow/core/framework/tensor.proto"] };
    const { report, files } = await syncProtos(few("2.20.0", options));
    expect(report.from).toBeUndefined();
    expect(files).toBe(4);
    expect(await readdir(join(project.folder, "my/gen/tensorflow/core/framework"))).toContain("tensor.ts");
    expect(await checkProtos({ project: project.folder, ...options })).toEqual([]);
  });

  it("takes the roots of last time, unless others are named", { timeout: timeoutMs }, async () => {
    const last = Object.keys((await readLock(join(project.folder, "protos"))).files);
    await syncProtos(archives("2.21.0"));
    const kept = await readLock(join(project.folder, "protos"));
    expect(kept).toMatchObject({ tensorflow: "2.21.0", roots });
    expect(Object.keys(kept.files)).toEqual(last);
    await syncProtos(few("2.20.0", { roots: [types] }));
    expect(await readLock(join(project.folder, "protos"))).toMatchObject({ roots: [types], files: { [types]: expect.any(String) } });
  });

  it("skips the type check where tsconfig.json leaves the new code to other projects", { timeout: timeoutMs }, async () => {
    await writeTree(
      project.folder,
      new Map([
        ["tsconfig.json", '{ "files": [], "references": [{ "path": "other" }] }'],
        ["other/tsconfig.json", '{ "compilerOptions": { "composite": true }, "include": ["../gen"] }'],
      ]),
    );
    expect(await syncProtos(few("2.20.0", { typeCheck: true }))).toMatchObject({ applied: true, typeCheck: "skipped" });
  });

  it("skips it there whatever TypeScript says of other code", { timeout: timeoutMs }, async () => {
    const config = { compilerOptions: { strict: true, types: [] }, files: ["use.ts"] };
    await writeFile(join(project.folder, "tsconfig.json"), JSON.stringify(config));
    await writeFile(join(project.folder, "use.ts"), "export const wrong: string = 1;\n");
    expect(await syncProtos(few("2.20.0", { typeCheck: true }))).toMatchObject({ applied: true, typeCheck: "skipped" });
  });

  it("takes what a server says to be compressed, and fetch has unpacked", { timeout: timeoutMs }, async () => {
    for (const name of ["tensorflow", "serving"] as const) {
      const { body } = answers.get(`/${name}/v2.20.0.tar.gz`) as { body: Uint8Array };
      answers.set(`/${name}/v2.20.1.tar.gz`, { status: 200, headers: { "content-encoding": "gzip" }, body });
    }
    expect(await syncProtos(few("2.20.1"))).toMatchObject({ applied: true, report: { changes: [] } });
  });

  it("takes none of Google's own files, and refuses breaks in any package", { timeout: timeoutMs }, async () => {
    const toco = (number: number) => `syntax = "proto3";\npackage toco;\nmessage Flags { string name = ${number}; }\n`;
    const options = { roots: [...roots, "toco.proto"], allowBreaking: false };
    await serveEdited(({ serving }) => {
      serving.set("toco.proto", toco(1));
      serving.set("google/protobuf/wrappers.proto", "this is no proto file");
    });
    expect(await syncProtos(few("2.20.1", options))).toMatchObject({ applied: true });
    expect(await readdir(join(project.folder, "protos"))).not.toContain("google");
    await serveEdited(({ serving }) => serving.set("toco.proto", toco(9)));
    expect(await syncProtos(few("2.20.1", options))).toMatchObject({
      applied: false,
      report: { refusals: [expect.stringContaining("toco.Flags.name changed: 1 implicit string -> 9 implicit string")] },
    });
  });

  it("tells of files added, removed and moved", { timeout: timeoutMs }, async () => {
    const util = "tensorflow_serving/util/status.proto";
    await serveEdited(({ serving }) => {
      serving.set("tensorflow_serving/apis/fresh.proto", 'syntax = "proto3";\npackage tensorflow.serving;\nmessage Fresh {}\n');
      replaceIn(
        serving,
        model,
        "package tensorflow.serving;",
        'package tensorflow.serving;\nimport "tensorflow_serving/apis/fresh.proto";',
      );
      serving.set(util, serving.get(status) ?? "");
      serving.delete(status);
      for (const path of ["get_model_status", "model_management"])
        replaceIn(serving, `tensorflow_serving/apis/${path}.proto`, status, util);
    });
    const { report } = await syncProtos(few("2.20.1"));
    expect(report.files).toEqual({ added: ["tensorflow_serving/apis/fresh.proto"], removed: [], moved: [{ from: status, to: util }] });
    expect(report.changes.map(({ name }) => name)).toEqual(["tensorflow.serving.Fresh"]);

    const back = await syncProtos(few("2.20.0"));
    expect(back.report.files).toEqual({ added: [], removed: ["tensorflow_serving/apis/fresh.proto"], moved: [{ from: util, to: status }] });
  });

  it("takes what is removed on the way down, and refuses it on the way up", { timeout: timeoutMs }, async () => {
    const trees = await upstreamTrees("2.20.0");
    replaceIn(trees.serving, model, "  string signature_name = 3;\n", "");
    for (const version of ["2.20.1", "2.19.0"]) serve(version, trees);
    const up = await syncProtos(few("2.20.1"));
    expect(up.report.refusals).toEqual([
      `${model}: field tensorflow.serving.ModelSpec.signature_name removed: 3 implicit string (whoever uses it breaks)`,
    ]);
    await expectUntouched();
    expect(await syncProtos(few("2.19.0"))).toMatchObject({ applied: true, report: { refusals: [] } });
  });

  describe("where the interface breaks", () => {
    it.each<[string, string, string, string, RegExp]>([
      ["another field number", model, "name = 1;", "name = 9;", /ModelSpec\.name changed: 1 implicit string -> 9 implicit string/],
      ["another type", model, "string name = 1;", "bytes name = 1;", /ModelSpec\.name changed: .* -> 1 implicit bytes/],
      ["another enum number", types, "DT_HALF = 19;", "DT_HALF = 99;", /value tensorflow\.DataType\.DT_HALF changed: 19 -> 99/],
      [
        "another method",
        "tensorflow_serving/apis/model_service.proto",
        "returns (GetModelStatusResponse)",
        "returns (stream GetModelStatusResponse)",
        /method tensorflow\.serving\.ModelService\/GetModelStatus changed/,
      ],
    ])("refuses %s", { timeout: timeoutMs }, async (_what, path, from, to, message) => {
      await serveEdited((trees) => replaceIn(path === types ? trees.tensorflow : trees.serving, path, from, to));
      const refused = await syncProtos(few("2.20.1"));
      expect(refused.applied).toBe(false);
      expect(refused.report.refusals).toEqual([expect.stringMatching(message)]);
      expect(refused.report.refusals[0]).toContain(`${path}: `);
      await expectUntouched();
    });

    it("goes on where it is allowed", { timeout: timeoutMs }, async () => {
      await serveEdited(({ serving }) => replaceIn(serving, model, "name = 1;", "name = 9;"));
      expect(await syncProtos(few("2.20.1", { allowBreaking: true }))).toMatchObject({
        applied: true,
        report: { refusals: [expect.any(String)] },
      });
      expect(await checkProtos({ project: project.folder })).toEqual([]);
    });
  });

  describe("fails, names what is wrong and leaves the folders as they were, for", () => {
    it.each<[string, (trees: UpstreamTrees) => void, string]>([
      [
        "a missing import",
        ({ tensorflow }) => tensorflow.delete(types),
        `tensorflow/core/framework/resource_handle.proto:9: import "${types}"; neither source has this file`,
      ],
      ["a missing root", ({ serving }) => serving.clear(), `${roots[0]}: neither source has this file or folder`],
      [
        "extensions in a file of any package, also in a first tree",
        ({ serving }) => {
          const own = 'syntax = "proto2";\npackage own;\nmessage M { extensions 100 to 200; }\n';
          serving.set("own.proto", own);
        },
        "own.proto: extensions are not covered by the wire digest",
      ],
      ["a file that is none", ({ serving }) => serving.set(model, "no proto"), "buf: tensorflow_serving/apis/model.proto:1:1:"],
    ])("%s", async (_what, edit, message) => {
      await serveEdited(edit);
      for (const more of [{}, { out: "first/protos", gen: "first/gen" }]) {
        const failure = syncProtos(few("2.20.1", { roots: [...roots, ...(message.startsWith("own") ? ["own.proto"] : [])], ...more }));
        await expect(failure).rejects.toMatchObject({ code: "FAILED_PRECONDITION", message: expect.stringContaining(message) });
      }
      await expectUntouched();
    });

    const whole = releaseArchive("serving", new Map([[model, "x".repeat(5000)]]));
    it.each<[string, CannedAnswer, string, RegExp]>([
      [
        "a truncated archive",
        { status: 200, body: whole.subarray(0, whole.length - 40) },
        "DATA_LOSS",
        /damaged archive: unexpected end of file/,
      ],
      [
        "an archive whose end is missing",
        { status: 200, body: gzipSync(tarOf([{ path: "s/a.proto", content: "a" }]).subarray(0, 1024)) },
        "DATA_LOSS",
        /the archive ends early/,
      ],
      [
        "an archive with a path that leads out",
        { status: 200, body: gzipSync(tarOf([{ path: "s/../../evil.proto" }])) },
        "DATA_LOSS",
        /"s\/\.\.\/\.\.\/evil\.proto" leads out of the archive/,
      ],
      [
        "an archive with a file where others need a folder",
        { status: 200, body: gzipSync(tarOf([{ path: "s/a.proto" }, { path: "s/a.proto/b.proto" }])) },
        "DATA_LOSS",
        /a\.proto is a file, and the folder of a\.proto\/b\.proto too/,
      ],
      [
        "an archive with two folders",
        { status: 200, body: gzipSync(tarOf([{ path: "s/a.proto" }, { path: "t/a.proto" }])) },
        "DATA_LOSS",
        /expected one folder with everything in it, got \["s\/","t\/"\]/,
      ],
      [
        "an archive with files outside of a folder",
        { status: 200, body: gzipSync(tarOf([{ path: "a.proto" }])) },
        "DATA_LOSS",
        /expected one folder with everything in it, got \[""\]/,
      ],
      ["a page instead of an archive", { status: 200, body: "<html></html>" }, "DATA_LOSS", /no gzip, read as tar: the archive ends early/],
      ["a version that is not there", { status: 404 }, "NOT_FOUND", /the server answered 404/],
      ["a server that is not well", { status: 503 }, "UNAVAILABLE", /the server answered 503/],
    ])("%s", async (_what, answer, code, message) => {
      answers.set("/serving/v2.20.1.tar.gz", answer);
      const failure = expect(syncProtos(few("2.20.1"))).rejects;
      await failure.toMatchObject({ code, message: expect.stringMatching(message) });
      await failure.toMatchObject({ message: expect.stringContaining(`${server.url}/serving/v2.20.1.tar.gz: `) });
      await expectUntouched();
    });

    it("a server that is not there", async () => {
      const gone = await startCannedRestServer();
      await gone.close();
      const serving = { version: "2.20.0", url: `${gone.url}/{version}` };
      await expect(syncProtos(few("2.20.0", { serving }))).rejects.toMatchObject({
        code: "UNAVAILABLE",
        message: expect.stringContaining(`${gone.url}/2.20.0: fetch failed: `),
      });
      await expectUntouched();
    });

    it("a query of a URL, which may be secret and is not shown", async () => {
      const lines: string[] = [];
      const serving = { version: "2.20.0", url: `${server.url}/none/{version}?token=hush` };
      const error = await syncProtos(few("2.20.0", { serving, onProgress: (line) => lines.push(line) })).catch((caught: unknown) => caught);
      expect(error).toMatchObject({ message: `${server.url}/none/2.20.0: the server answered 404 Not Found` });
      expect(lines).toEqual([`reading ${server.url}/none/2.20.0`]);
      await expectUntouched();
    });

    it("another sync at the same time", { timeout: timeoutMs }, async () => {
      const runs = await Promise.allSettled([syncProtos(few("2.20.0")), syncProtos(few("2.20.0"))]);
      const failures = runs.flatMap((run) => (run.status === "rejected" ? [run.reason] : []));
      expect(failures).toEqual([expect.objectContaining({ message: "another sync runs in this project", code: "FAILED_PRECONDITION" })]);
      await expectUntouched();
    });

    it("a project that does not type-check with the new code", { timeout: timeoutMs }, async () => {
      await writeFile(
        join(project.folder, "tsconfig.json"),
        JSON.stringify({ compilerOptions: { strict: true, types: [] }, files: ["use.ts"] }),
      );
      const path = types.replace(".proto", ".js");
      await writeFile(join(project.folder, "use.ts"), `export { DataType } from "./gen/${path}";\nexport const wrong: string = 1;\n`);
      const failure = syncProtos(few("2.21.0", { typeCheck: true }));
      await expect(failure).rejects.toThrow(/^type check with the new code: use\.ts\(2,14\): error TS2322: .*; the old folders are back$/);
      const less = syncProtos(few("2.21.0", { typeCheck: true, roots: ["tensorflow_serving/apis/status.proto"], allowBreaking: true }));
      await expect(less).rejects.toThrow(/^type check with the new code: .*error TS2/);
      for (const name of ["use.ts", "tsconfig.json"]) await rm(join(project.folder, name));
      await expectUntouched();
    });

    it("an old tree that does not compile", { timeout: timeoutMs }, async () => {
      const path = join(project.folder, "protos", model);
      const text = await readFile(path, "utf8");
      await writeFile(path, `${text}broken`);
      const error = await syncProtos(few("2.21.0")).catch((caught: unknown) => caught);
      expect(error).toMatchObject({
        code: "FAILED_PRECONDITION",
        message: expect.stringMatching(/protos: the old tree, to which the new one is compared, is broken: buf build: .*model\.proto/),
      });
      await writeFile(path, text);
      await expectUntouched();
    });

    it("folders that cannot be put back, and keeps what there is", { timeout: timeoutMs }, async () => {
      const typescript = join(project.folder, "node_modules/typescript");
      await rm(typescript);
      await writeTree(
        project.folder,
        new Map([
          ["tsconfig.json", "{}"],
          ["node_modules/typescript/package.json", "{}"],
          [
            "node_modules/typescript/bin/tsc",
            'require("node:fs").rmSync("gen", { recursive: true }); console.log("an error"); process.exitCode = 1;',
          ],
        ]),
      );
      const error = await syncProtos(few("2.21.0", { typeCheck: true })).catch((caught: unknown) => caught);
      const scratch = (await readdir(project.folder)).find((name) => name.startsWith(".gen-")) ?? "none";
      expect(error).toMatchObject({
        message: expect.stringMatching(/^putting the old folders back failed: ENOENT/),
        cause: { message: expect.stringMatching(/^type check with the new code: an error;/) },
      });
      expect(error).toMatchObject({ message: expect.stringContaining(`; what is missing is in ${join(project.folder, scratch)}`) });
      for (const name of [scratch, "tsconfig.json"]) await rm(join(project.folder, name), { recursive: true });
      await expectUntouched();
    });

    it("an interruption", { timeout: timeoutMs }, async () => {
      const controller = new AbortController();
      const reason = new Error("enough");
      const onProgress = (line: string) => line.startsWith("generating") && controller.abort(reason);
      await expect(syncProtos(few("2.21.0", { signal: controller.signal, onProgress }))).rejects.toBe(reason);
      await expectUntouched();
    });
  });

  it("ends all that runs before it cleans up, and fails with the reason", { timeout: timeoutMs }, async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const listener = createServer(() => controller.abort(reason)).listen(0, "127.0.0.1");
    await once(listener, "listening");
    const { port } = listener.address() as AddressInfo;
    // A plugin that never ends, writes where it was told to, and holds a connection as long as it lives.
    const plugin = `
      const { mkdirSync, writeFileSync } = require("node:fs");
      const folder = process.cwd() + "/gen";
      setInterval(() => {
        mkdirSync(folder, { recursive: true });
        writeFileSync(folder + "/" + Math.random(), "");
      }, 1);
      fetch("http://127.0.0.1:${port}/");
    `;
    const tsProto = join(project.folder, "node_modules/ts-proto");
    await rm(tsProto);
    await writeTree(
      tsProto,
      new Map([
        ["package.json", "{}"],
        ["protoc-gen-ts_proto", plugin],
      ]),
    );
    const disconnected = new Promise<void>((resolve) => {
      listener.on("connection", (socket) => socket.on("error", () => {}).on("close", resolve));
    });
    await expect(syncProtos(few("2.21.0", { signal: controller.signal }))).rejects.toBe(reason);
    await disconnected;
    listener.close();
    await expectUntouched();
  });

  it.each([
    ["user:s3cret@mirror/{version}", "***@mirror/{version}"],
    ["https:/user:s3cret@mirror/{version}", "***@mirror/{version}"],
    ["https:\\\\user:s3cret@mirror/{version}", "***@mirror/{version}"],
    ["https://user:s3/cret@mirror/{version}", "https://***@mirror/{version}"],
    ["https://user:s3cret@x@mirror/{version}", "https://***@mirror/{version}"],
    ["https://user:s3?cret@mirror/{version}", "https://***"],
    ["https://user:s3#cret@mirror/{version}", "https://***"],
    ["ftp://mirror/{version}?key=s3cret", "ftp://mirror/{version}"],
  ])("shows no password of %s", async (url, shown) => {
    const { message } = (await syncProtos(few("2.20.0", { serving: { version: "2.20.0", url } })).catch((error) => error)) as Error;
    expect(message).toMatch(
      /^--serving-url: expected (?:an http or https URL with \{version\} in it|a URL without user name and password), got "/,
    );
    expect(message.slice(message.indexOf('"'))).toBe(JSON.stringify(shown));
  });

  describe("rejects", () => {
    it.each<[string, Partial<SyncOptions>, RegExp]>([
      [
        "a version that is none",
        { serving: { version: "../x", url: "http://x/{version}" } },
        /^--serving: expected a version such as 2\.20\.0/,
      ],
      ["a URL without the version", { serving: { version: "2.20.0", url: "http://x/" } }, /^--serving-url: expected an http or https URL/],
      [
        "a URL with a password, which is not shown",
        { serving: { version: "2.20.0", url: "http://bob:hunter2@x/{version}" } },
        /^--serving-url: expected a URL without user name and password, got "http:\/\/\*\*\*@x\/\{version\}"$/,
      ],
      ["a URL of files", { serving: { version: "2.20.0", url: "file:///{version}" } }, /^--serving-url: /],
      [
        "a folder that is not there",
        { serving: { version: "2.20.0", url: "", directory: "nowhere" } },
        /^--serving-dir: .* got "nowhere"$/,
      ],
      ["the project as folder of the tree", { out: "." }, /expected a folder of its own/],
      ["a folder above the project", { gen: ".." }, /expected a folder of its own/],
      ["one folder in the other", { gen: "protos/gen" }, /protos: expected a folder of its own/],
      [
        "other .proto files in the folder of the tree",
        { out: "own" },
        /own: expected no folder, or one whose \.proto files are in its protos\.lock\.json, got x\.proto/,
      ],
      [
        "files that were written by hand in the folder of the code",
        { gen: "own" },
        /own: expected no folder, or one of code generated from the tree in .*protos, got x\.proto$/,
      ],
    ])("%s", async (_what, more, message) => {
      await mkdir(join(project.folder, "own"));
      await writeFile(join(project.folder, "own/x.proto"), 'syntax = "proto3";\n');
      const error = await syncProtos(few("2.20.0", more)).catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(RangeError);
      expect(error).toMatchObject({ message: expect.stringMatching(message) });
      await rm(join(project.folder, "own"), { recursive: true });
      await expectUntouched();
    });
  });

  it.each<[string, string, Partial<SyncOptions>]>([
    ["of another program, without a lock", "own/tensorflow/core/framework/types.ts", { out: "fresh", gen: "own" }],
    ["of another program, beside a lock", "gen/own.ts", {}],
    ["in another language", "gen/tensorflow/core/framework/types.pb.go", {}],
  ])("refuses to take away generated code %s", async (_what, path, more) => {
    await writeTree(project.folder, new Map([[path, "// Code generated by protoc-gen-ts_proto. DO NOT EDIT.\n"]]));
    await expect(syncProtos(few("2.20.0", more))).rejects.toThrow(
      `: expected no folder, or one of code generated from the tree in ${join(project.folder, more.out ?? "protos")}, got `,
    );
    await rm(join(project.folder, more.gen === undefined ? path : "own"), { recursive: true });
    await expectUntouched();
  });

  it.each(["protos/link.md", "gen/link", "own"])("refuses to take away a link: %s", async (path) => {
    await symlink(first.folder, join(project.folder, path), "junction");
    const error = await syncProtos(few("2.20.0", path === "own" ? { gen: path } : {})).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(RangeError);
    expect(error).toMatchObject({
      message: `${join(project.folder, path)}: expected a file or folder, got a link or the like, which would be lost`,
    });
    await rm(join(project.folder, path));
    await expectUntouched();
  });

  it("refuses to take away a .proto file that is not in the lock", async () => {
    const own = join(project.folder, "protos/own.proto");
    await writeFile(own, 'syntax = "proto3";\n');
    await expect(syncProtos(few("2.20.0"))).rejects.toThrow(/in its protos\.lock\.json, got own\.proto$/);
    await rm(own);
    await expectUntouched();
  });

  describe("checkProtos", () => {
    it.each<[string, string, (path: string) => Promise<void>, string]>([
      ["an edited file", `protos/${model}`, (path) => writeFile(path, 'syntax = "proto3";\n'), `protos/${model}: expected sha256 `],
      ["an edited generated file", "gen/tensorflow/core/framework/types.ts", (path) => writeFile(path, ""), "types.ts: differs"],
      ["a missing generated file", `gen/${model.replace(".proto", ".ts")}`, (path) => rm(path), "apis/model.ts: missing"],
      [
        "a file too many",
        "protos/x.proto",
        (path) => writeFile(path, 'syntax = "proto3";\n'),
        "protos/x.proto: in the tree, missing in the lock",
      ],
    ])("names %s", { timeout: timeoutMs }, async (_what, path, damage, finding) => {
      await damage(join(project.folder, path));
      expect(await checkProtos({ project: project.folder })).toContainEqual(expect.stringContaining(finding));
    });

    it("names a wire digest that is not the lock's", { timeout: timeoutMs }, async () => {
      const path = join(project.folder, "protos/protos.lock.json");
      const { wireDigest } = await readLock(join(project.folder, "protos"));
      await writeFile(path, (await readFile(path, "utf8")).replace(wireDigest, "0".repeat(64)));
      expect(await checkProtos({ project: project.folder })).toEqual([`protos: expected wire digest ${"0".repeat(64)}, got ${wireDigest}`]);
    });

    it("names a lock that is broken", async () => {
      const path = join(project.folder, "protos/protos.lock.json");
      await writeFile(path, "{");
      expect(await checkProtos({ project: project.folder })).toEqual([`${path}: expected JSON`]);
    });

    it("names a lock that is missing, in a folder as it was given", async () => {
      await rename(join(project.folder, "protos/protos.lock.json"), join(project.folder, "lock"));
      expect(await checkProtos({ project: project.folder, out: "./protos" })).toEqual(["./protos: no protos.lock.json: run protos sync"]);
    });

    it("names each generated file where the folder is missing", { timeout: timeoutMs }, async () => {
      const files = await filesBelow(join(project.folder, "gen"));
      await rm(join(project.folder, "gen"), { recursive: true });
      expect(await checkProtos({ project: project.folder })).toEqual(files.map((path) => `gen/${path}: missing`));
    });

    it("names the file that is imported and not there", { timeout: timeoutMs }, async () => {
      await rm(join(project.folder, `protos/${types}`));
      expect(await checkProtos({ project: project.folder, out: "./protos" })).toEqual([
        `./protos/${types}: in the lock, missing in the tree`,
        `./protos/tensorflow/core/framework/resource_handle.proto:9: import "${types}"; the tree lacks this file`,
      ]);
    });
  });
});
