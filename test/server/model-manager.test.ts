import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ModelConfig } from "../../src/model-server-config.js";
import { ModelManager } from "../../src/server/model-manager.js";
import type { ModelManagerOptions } from "../../src/server/model-options.js";
import { callServable } from "../../src/server/predict-service.js";
import { whileHeld } from "../../src/server/servable-handle.js";
import { settled, VirtualSchedule } from "../batching/virtual-schedule.js";
import { VersionRoot, versionServable } from "./version-root.js";

let root: VersionRoot;
beforeAll(() => {
  root = new VersionRoot();
});
afterAll(() => root.close());

/** A model manager whose time stands still, and what it does. */
class Watched {
  readonly clock = new VirtualSchedule();
  readonly changes: string[] = [];
  readonly manager: ModelManager;

  constructor(options: ModelManagerOptions) {
    this.manager = new ModelManager({
      loadServable: root.load,
      clock: this.clock,
      onStateChange: ({ name, version, state }) => this.changes.push(`${name} ${version} ${state}`),
      ...options,
    });
  }

  states(name: string): string[] {
    return this.manager.statuses({ name }).map(({ version, state }) => `${version} ${state}`);
  }

  /** Looks at the folders have had their effect; they read the disk, so that is not at once. */
  async becomes(name: string, states: readonly string[]): Promise<void> {
    const look = async () => {
      await this.pass(1_000);
      return this.states(name);
    };
    await expect.poll(look, { interval: 10 }).toEqual(states);
  }

  /** Lets time pass once what was begun waits for it. */
  async pass(durationMs: number): Promise<void> {
    await settled();
    this.clock.advance(durationMs);
  }

  code(call: () => unknown): unknown {
    try {
      return call();
    } catch (error) {
      return `${(error as { code: string }).code}: ${(error as Error).message}`;
    }
  }
}

const listed = (name: string, more: Partial<ModelConfig> = {}): ModelConfig => ({
  name,
  basePath: root.of(name),
  modelPlatform: "tensorflow",
  ...more,
});

describe("ModelManager", () => {
  it("serves the newest version of a base path once it has been started, and follows its folders", async () => {
    root.add("follow", 1);
    root.add("follow", "0002");
    const watched = new Watched({ models: { follow: root.of("follow") } });
    await watched.manager.start();
    expect(watched.states("follow")).toEqual(["2 AVAILABLE"]);
    root.add("follow", 3);
    watched.changes.length = 0;
    await watched.becomes("follow", ["3 AVAILABLE", "2 END"]);
    // Available before the old one goes.
    expect(watched.changes).toEqual(["follow 3 START", "follow 3 LOADING", "follow 3 AVAILABLE", "follow 2 UNLOADING", "follow 2 END"]);
    root.remove("follow", 3);
    await watched.becomes("follow", ["3 END", "2 AVAILABLE"]);
    watched.manager.close();
    expect(watched.clock.timerCount).toBe(0);
  });

  it("keeps an old version where the new one fails", async () => {
    root.add("old", 1);
    const watched = new Watched({ models: { old: root.of("old") } });
    await watched.manager.start();
    root.add("old", 2, "broken");
    await watched.becomes("old", ["2 END", "1 AVAILABLE"]);
    expect(watched.manager.statuses({ name: "old", version: 2 })).toMatchObject([{ errorCode: "OUT_OF_RANGE" }]);
    writeFileSync(join(root.of("old"), "3"), "a plain file");
    await watched.becomes("old", ["3 END", "2 END", "1 AVAILABLE"]);
    expect(watched.manager.statuses({ name: "old", version: 3 })[0]?.errorMessage).toMatch(
      /^Error while attempting to reserve resources .*old version: 3.*Not a directory$/,
    );
  });

  it("leaves all models as they are while one base path is missing, but for those that are removed", async () => {
    for (const name of ["gone", "other", "dropped"]) root.add(name, 1);
    const watched = new Watched({});
    await watched.manager.start();
    const reloaded = watched.manager.reload({ models: [listed("gone"), listed("other"), listed("dropped")] });
    await watched.becomes("other", ["1 AVAILABLE"]);
    await reloaded;
    root.remove("gone");
    root.add("other", 2);
    await watched.manager.reload({ models: [listed("gone"), listed("other")] });
    await watched.becomes("dropped", ["1 END"]);
    expect(watched.states("gone")).toEqual(["1 AVAILABLE"]);
    expect(watched.states("other")).toEqual(["1 AVAILABLE"]);
    root.add("gone", 1);
    await watched.becomes("other", ["2 AVAILABLE", "1 END"]);
  });

  it("applies removals and policies at the next look, after the reload was answered", async () => {
    for (const version of [1, 2, 3]) root.add("policy", version);
    const watched = new Watched({ models: { policy: root.of("policy"), removed: versionServable(1n, "given") } });
    await watched.manager.start();
    await watched.manager.reload({ models: [listed("policy", { versionPolicy: "all" })] });
    expect(watched.states("policy")).toEqual(["3 AVAILABLE"]);
    expect(watched.states("removed")).toEqual(["1 AVAILABLE"]);
    await watched.becomes("policy", ["3 AVAILABLE", "2 AVAILABLE", "1 AVAILABLE"]);
    expect(watched.states("removed")).toEqual(["1 END"]);
    await watched.manager.reload({ models: [listed("policy", { versionPolicy: { specific: [1n, 9n] } })] });
    await watched.becomes("policy", ["3 END", "2 END", "1 AVAILABLE"]);
  });

  it("waits for a new model until a look finds it, and those behind it wait, too", async () => {
    const watched = new Watched({});
    await watched.manager.start();
    const order: string[] = [];
    const first = watched.manager.reload({ models: [listed("late")] }).then(() => order.push("first"));
    const second = watched.manager.reload({ models: [] }).then(() => order.push("second"));
    watched.clock.advance(1_000);
    await watched.manager.poll();
    expect(order).toEqual([]);
    root.add("late", 1);
    watched.clock.advance(1_000);
    await Promise.all([first, second]);
    expect(order).toEqual(["first", "second"]);
  });

  it("ends the waits of reloads when it is closed", async () => {
    const watched = new Watched({});
    const waiting = watched.manager.reload({ models: [listed("never")] });
    watched.manager.close();
    await expect(waiting).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  it("keeps a version UNLOADING until the calls on it have ended, and loads it again where it is wanted again", async () => {
    root.add("busy", 1);
    const watched = new Watched({ models: { busy: root.of("busy") } });
    await watched.manager.start();
    let end: () => void = () => undefined;
    const running = whileHeld(watched.manager.resolve({ name: "busy" }), () => new Promise<void>((resolve) => (end = resolve)));
    root.add("busy", 2);
    await watched.becomes("busy", ["2 AVAILABLE", "1 UNLOADING"]);
    expect(watched.code(() => watched.manager.resolve({ name: "busy", version: 1 }))).toBe(
      "NOT_FOUND: Servable not found for request: Specific(busy, 1)",
    );
    await watched.manager.reload({ models: [listed("busy", { versionPolicy: "all" })] });
    watched.clock.advance(1_000);
    await watched.manager.poll();
    expect(watched.states("busy")).toEqual(["2 AVAILABLE", "1 UNLOADING"]);
    watched.changes.length = 0;
    end();
    await running;
    await expect.poll(() => watched.states("busy")).toEqual(["2 AVAILABLE", "1 AVAILABLE"]);
    expect(watched.changes).toEqual(["busy 1 END", "busy 1 START", "busy 1 LOADING", "busy 1 AVAILABLE"]);
  });

  it("tries a load again, LOADING all the while, until the last attempt or nobody wants it", async () => {
    root.add("retry", 1, "broken");
    let attempts = 0;
    const loadServable: ModelManagerOptions["loadServable"] = (folder, model) => {
      attempts++;
      return root.load(folder, model);
    };
    const watched = new Watched({ models: { retry: root.of("retry") }, loadServable, maxLoadRetries: 2, fileSystemPollMs: 0 });
    const started = watched.manager.start();
    for (const attempt of [1, 2]) {
      await expect.poll(() => watched.clock.timerCount).toBe(1);
      expect([attempts, watched.states("retry")]).toEqual([attempt, ["1 LOADING"]]);
      watched.clock.advance(60_000);
    }
    await expect(started).rejects.toMatchObject({
      code: "UNKNOWN",
      message:
        "1 servable(s) did not become available: {{{name: retry version: 1} due to error: OUT_OF_RANGE: Read less bytes than requested}, }",
    });

    await watched.manager.reload({ models: [] });
    const again = watched.manager.reload({ models: [listed("retry")] }).catch(() => undefined);
    await expect.poll(() => watched.clock.timerCount).toBe(1);
    root.remove("retry", 1);
    await watched.manager.poll();
    watched.clock.advance(60_000);
    await expect.poll(() => watched.states("retry")).toEqual(["1 END"]);
    expect(attempts).toBe(4);
    watched.manager.close();
    await again;
  });

  it("keeps what a look has found where the same configuration was applied meanwhile", async () => {
    root.add("same", 1);
    const watched = new Watched({ models: { same: root.of("same") } });
    await watched.manager.start();
    const config = () => ({ models: [listed("same", { versionPolicy: { latest: 1 } })] });
    await watched.manager.reload(config());
    root.add("same", 2);
    const look = watched.manager.poll();
    await watched.manager.reload(config());
    await look;
    await expect.poll(() => watched.states("same")).toEqual(["2 AVAILABLE", "1 END"]);
    watched.manager.close();
  });

  it("keeps a version UNLOADING until a function has ended whose call ran out of time", async () => {
    const watched = new Watched({ models: { late: versionServable(1n, "late") }, fileSystemPollMs: 0 });
    let end: () => void = () => undefined;
    const running = new Promise<void>((resolve) => (end = resolve));
    const handle = watched.manager.resolve({ name: "late" });
    const called = whileHeld(handle, () => callServable(handle, { signatureName: "s", deadline: performance.now() }, () => running));
    await expect(called).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    await watched.manager.reload({ models: [] });
    expect(watched.states("late")).toEqual(["1 UNLOADING"]);
    end();
    await expect.poll(() => watched.states("late")).toEqual(["1 END"]);
  });

  it("leaves states that a test has set alone while no folder comes or goes", async () => {
    for (const version of [1, 2]) root.add("scripted", version);
    const watched = new Watched({ models: { scripted: root.of("scripted") } });
    await watched.manager.start();
    watched.manager.setVersionState("scripted", 2, "END");
    await watched.becomes("scripted", ["2 END"]);
    await watched.manager.poll();
    expect(watched.states("scripted")).toEqual(["2 END"]);
    watched.manager.setVersionState("scripted", 2, "AVAILABLE");
    expect(watched.manager.resolve({ name: "scripted" }).version).toBe(2n);
  });
});

describe("onStateChange", () => {
  it("is told why a version failed, and harms nothing by what it throws", async () => {
    root.add("told", 1);
    const changes: unknown[] = [];
    const onStateChange: ModelManagerOptions["onStateChange"] = (change) => {
      changes.push(change);
      throw new Error("not interested");
    };
    const watched = new Watched({ models: { told: root.of("told") }, onStateChange });
    const warned = once(process, "warning");
    await watched.manager.start();
    expect(String((await warned)[0])).toContain("onStateChange: Error: not interested");
    root.add("told", 2, "broken");
    await watched.becomes("told", ["2 END", "1 AVAILABLE"]);
    expect(changes.at(-1)).toMatchObject({ name: "told", version: 2n, state: "END", error: { code: "OUT_OF_RANGE" } });
  });
});

describe("onLoadFailure", () => {
  it("is told of every attempt that fails, whatever failed, and harms nothing by what it throws", async () => {
    root.add("failing", 1);
    root.add("failing", 2, "broken");
    writeFileSync(join(root.of("failing"), "3"), "a plain file");
    const extra = join(root.of("failing"), "1", "assets.extra");
    mkdirSync(extra);
    writeFileSync(join(extra, "tf_serving_warmup_requests"), "no TFRecord file");
    const failures: string[] = [];
    const onLoadFailure: ModelManagerOptions["onLoadFailure"] = ({ name, version, attempt, error }) => {
      failures.push(`${name} ${version}, attempt ${attempt}: ${error.code}: ${error.message}`);
      throw new Error("not interested");
    };
    const warned = once(process, "warning");
    const watched = new Watched({ onLoadFailure, maxLoadRetries: 1, fileSystemPollMs: 0 });
    const reloaded = watched.manager.reload({ models: [listed("failing", { versionPolicy: "all" })] }).catch(() => undefined);
    await expect.poll(() => watched.clock.timerCount).toBe(3);
    watched.clock.advance(60_000);
    await reloaded;
    expect(String((await warned)[0])).toContain("onLoadFailure: Error: not interested");
    for (const attempt of [1, 2]) {
      expect(failures).toContainEqual(expect.stringMatching(`^failing 1, attempt ${attempt}: DATA_LOSS: corrupted record at 0`));
      expect(failures).toContain(`failing 2, attempt ${attempt}: OUT_OF_RANGE: Read less bytes than requested`);
      expect(failures).toContainEqual(expect.stringMatching(`^failing 3, attempt ${attempt}: FAILED_PRECONDITION: .*Not a directory$`));
    }
    expect(failures).toHaveLength(6);
  });
});

describe("labels", () => {
  const specific = (versionLabels: Record<string, bigint>) => [
    listed("labelled", { versionPolicy: { specific: [1n, 2n] }, versionLabels }),
  ];
  const refused = (version: number) => ({
    code: "FAILED_PRECONDITION",
    message: `Request to assign label to version ${version} of model labelled, which is not currently available for inference`,
  });

  async function labelled(allowVersionLabelsForUnavailableModels: boolean): Promise<Watched> {
    for (const version of [1, 2, 3]) root.add("labelled", version);
    const watched = new Watched({ allowVersionLabelsForUnavailableModels, fileSystemPollMs: 0 });
    await watched.manager.reload({ models: specific({}) });
    await expect.poll(() => watched.states("labelled")).toEqual(["2 AVAILABLE", "1 AVAILABLE"]);
    await watched.manager.reload({ models: specific({ stable: 1n }) });
    root.remove("labelled");
    return watched;
  }

  it("are there once a configuration has come", () => {
    const watched = new Watched({});
    const resolve = () => watched.manager.resolve({ name: "m", versionLabel: "l" });
    expect(watched.code(resolve)).toBe("UNAVAILABLE: Model labels does not init yet.l");
  });

  it("stand on versions that are available", async () => {
    const { manager } = await labelled(false);
    await expect(manager.reload({ models: specific({ stable: 2n, canary: 3n }) })).rejects.toMatchObject(refused(3));
    expect(manager.resolve({ name: "labelled", versionLabel: "stable" }).version).toBe(1n);
    expect(() => manager.resolve({ name: "labelled", versionLabel: "canary" })).toThrow("Unrecognized servable version label: canary");
  });

  it("may come to stand on other versions where that is allowed, but not move to them", async () => {
    const { manager } = await labelled(true);
    await manager.reload({ models: specific({ stable: 1n, canary: 3n }) });
    await expect(manager.reload({ models: specific({ stable: 3n, canary: 3n }) })).rejects.toMatchObject(refused(3));
    await expect(manager.reload({ models: specific({ stable: 1n, canary: 99n }) })).rejects.toMatchObject(refused(99));
    expect(manager.resolve({ name: "labelled", versionLabel: "stable" }).version).toBe(1n);
    expect(() => manager.resolve({ name: "labelled", versionLabel: "canary" })).toThrow("not found for request: Specific(labelled, 3)");
  });

  it("of base paths cannot be set at the start, unless labels may be set early", async () => {
    root.add("early", 1);
    const options = { models: { early: root.of("early") }, versionLabels: { early: { first: 1 } } };
    await expect(new Watched(options).manager.start()).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    const watched = new Watched({ ...options, allowVersionLabelsForUnavailableModels: true });
    await watched.manager.start();
    expect(watched.manager.resolve({ name: "early", versionLabel: "first" }).version).toBe(1n);
  });
});

describe("the configuration file", () => {
  const file = () => join(root.path, "models.config");
  const text = (...names: string[]) =>
    `model_config_list {\n${names.map((name) => `config { name: "${name}" base_path: "${root.of(name)}" model_platform: "tensorflow" }\n`).join("")}}`;

  it("is applied again at every interval, which undoes reloads", async () => {
    for (const name of ["one", "two"]) root.add(name, 1);
    writeFileSync(file(), text("one"));
    const watched = new Watched({ modelConfigFile: file(), modelConfigFilePollMs: 5_000 });
    await watched.manager.start();
    expect(watched.states("one")).toEqual(["1 AVAILABLE"]);
    const reloaded = watched.manager.reload({ models: [listed("two")] });
    await watched.becomes("one", ["1 END"]);
    await reloaded;
    await watched.pass(4_000);
    await watched.becomes("one", ["1 AVAILABLE"]);
    await watched.becomes("two", ["1 END"]);
    for (const [content, what] of [
      ["model_config_list {", "broken"],
      ["# nothing", "without a list"],
      ["", "empty"],
    ]) {
      writeFileSync(file(), content as string);
      await watched.pass(5_000);
      await watched.manager.poll();
      expect(watched.states("one"), what).toEqual(["1 AVAILABLE"]);
    }
    writeFileSync(file(), text());
    await watched.pass(5_000);
    await watched.becomes("one", ["1 END"]);
    watched.manager.close();
  });

  it("takes servables that are given by their names, and serves only what it lists", async () => {
    writeFileSync(file(), text("given"));
    const models = { given: versionServable(1n, "given"), unlisted: versionServable(1n, "unlisted") };
    const watched = new Watched({ models, modelConfigFile: file() });
    await watched.manager.start();
    expect(watched.states("given")).toEqual(["1 AVAILABLE"]);
    expect(() => watched.states("unlisted")).toThrow("Could not find any versions of model unlisted");
  });

  it.each([
    ["", "INVALID_ARGUMENT: FILE; Invalid argument"],
    ["model_config_list {", "INVALID_ARGUMENT: Invalid protobuf file: 'FILE'"],
    [
      'model_config_list { config { name: "m" base_path: "/m" } }',
      "INVALID_ARGUMENT: Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform, model name is m",
    ],
    [
      'model_config_list { config { name: "m" base_path: "models/m" model_platform: "tensorflow" } }',
      "INVALID_ARGUMENT: Expected model m to have an absolute path or URI; got base_path()=models/m",
    ],
    ["# nothing", "started"],
    ["model_config_list {}", "started"],
  ])("%j at the start: %s", async (content, outcome) => {
    writeFileSync(file(), content);
    const watched = new Watched({ modelConfigFile: file() });
    const told = await watched.manager.start().then(
      () => "started",
      (error: { code: string; message: string }) => `${error.code}: ${error.message.replace(file(), "FILE")}`,
    );
    expect(told).toBe(outcome);
    watched.manager.close();
  });
});
