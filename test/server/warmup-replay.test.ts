import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createInMemoryTransport, servable, startModelServer } from "../../src/server/index.js";
import { halfPlusTwo } from "./golden-models.js";

interface Outcome {
  readonly file: string;
  readonly base_path: string;
  readonly loads: boolean;
  readonly state: string;
  readonly error_code: string;
  readonly error_message: string;
  readonly reload: { readonly code: string; readonly message: string };
}

const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
const { entries } = JSON.parse(readFileSync(fixture("golden/warmup/outcomes.json"), "utf8")) as { entries: Outcome[] };
const recordedRoot = "/tmp/models/warm";

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "tfserving-warmup-"));
});
afterAll(() => rmSync(root, { recursive: true }));

const soon = () => ({ deadline: performance.now() + 10_000 });

/** A base path whose version 123 has a warm-up file. */
function basePathWith(name: string, file: string): string {
  const extra = join(root, name, "00000123", "assets.extra");
  mkdirSync(extra, { recursive: true });
  copyFileSync(fixture(`tfrecord/${file}`), join(extra, "tf_serving_warmup_requests"));
  return join(root, name);
}

/** A recorded text as it is said here: in another folder, and with what is no text replaced. */
function saidHere(text: string): string {
  return text.replaceAll(recordedRoot, root).replace(/(\\xff|\u00ff)/g, "\ufffd");
}

describe("warm-up at load", () => {
  it("has recorded outcomes to compare with", () => {
    expect(entries.length).toBe(27);
  });

  it.each(entries.map((entry): [string, Outcome] => [entry.file, entry]))("of %s has the recorded outcome", async (_file, outcome) => {
    const name = outcome.base_path.slice(recordedRoot.length + 1);
    const model = { name, basePath: basePathWith(name, outcome.file), modelPlatform: "tensorflow" };
    const transport = createInMemoryTransport({}, { loadServable: () => halfPlusTwo });
    const reload = await transport.reloadConfig({ models: [model] }, soon()).then(
      () => ({ code: "OK", message: "" }),
      (error: { code: string; serverMessage: string }) => ({ code: error.code, message: error.serverMessage }),
    );
    expect(reload).toEqual({ code: outcome.reload.code, message: saidHere(outcome.reload.message) });
    expect(await transport.getModelStatus({ name }, soon())).toEqual([
      { version: 123n, state: outcome.state, errorCode: outcome.error_code, errorMessage: saidHere(outcome.error_message) },
    ]);
    await transport.close();
  });

  it("runs every record before the version is available", async () => {
    const ran: string[] = [];
    const counting = servable({
      signatures: {
        serving_default: { inputs: { x: { dtype: "float32", shape: [null] } }, outputs: { y: { dtype: "float32", shape: [null] } } },
      },
      predict: ({ x }, { version }) => {
        ran.push(`${version}: ${x.values.join()}`);
        return { y: x };
      },
    });
    const server = await startModelServer({ models: { m: basePathWith("ran", "one.tfrecord") }, loadServable: () => counting });
    expect(ran).toEqual(["123: 1,2,5"]);
    await server.close();
  });

  it("fails the version, and with it the start, for an error of the servable", async () => {
    const failing = servable({
      signatures: {
        serving_default: { inputs: { x: { dtype: "float32", shape: [null] } }, outputs: { y: { dtype: "float32", shape: [null] } } },
      },
      predict: () => {
        throw new Error("out of memory");
      },
    });
    const models = { m: basePathWith("failing", "one.tfrecord") };
    await expect(startModelServer({ models, loadServable: () => failing })).rejects.toMatchObject({
      code: "UNKNOWN",
      message: "1 servable(s) did not become available: {{{name: m version: 123} due to error: INTERNAL: out of memory}, }",
    });
    const server = await startModelServer({ models, loadServable: () => failing, enableModelWarmup: false });
    await server.close();
  });

  it("refuses signatures of another kind where the server does", async () => {
    const named = servable({
      signatures: {
        serving_default: {
          methodName: "odd",
          inputs: { x: { dtype: "float32", shape: [null] } },
          outputs: { y: { dtype: "float32", shape: [null] } },
        },
      },
      predict: ({ x }) => ({ y: x }),
    });
    const options = { models: { m: basePathWith("named", "one.tfrecord") }, loadServable: () => named };
    await expect(startModelServer({ ...options, enableSignatureMethodNameCheck: true })).rejects.toThrow(
      "INTERNAL: Expected prediction signature method_name to be one of",
    );
    await (await startModelServer(options)).close();
  });

  it("goes through the batches of a server that makes them", async () => {
    const sizes: number[] = [];
    const counting = servable({
      signatures: {
        serving_default: { inputs: { x: { dtype: "float32", shape: [null] } }, outputs: { y: { dtype: "float32", shape: [null] } } },
      },
      predict: ({ x }) => {
        sizes.push(x.size);
        return { y: x };
      },
    });
    const batching = { maxBatchSize: 8, allowedBatchSizes: [8], numBatchThreads: 1 };
    const server = await startModelServer({
      models: { m: basePathWith("batched", "one.tfrecord") },
      loadServable: () => counting,
      batching,
    });
    expect(sizes).toEqual([8]);
    await server.close();
  });
});
