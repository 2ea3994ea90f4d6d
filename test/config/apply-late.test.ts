import { describe, expect, it } from "vitest";
import { applyByClock } from "../../src/config/apply.js";
import type { ConfigClient } from "../../src/config/index.js";
import { ServingError } from "../../src/errors.js";
import type { ModelConfig, VersionPolicy } from "../../src/model-server-config.js";
import type { ModelVersionState, ModelVersionStatus } from "../../src/transport/transport.js";
import { clockWithoutWaits } from "./clock-without-waits.js";

type Versions = Readonly<Record<string, ModelVersionState | "FAILED">>;
/** States of versions from a time after the reload on, one after the other. */
type Course = readonly (readonly [afterMs: number, Versions])[];

const statuses = (versions: Versions): ModelVersionStatus[] =>
  Object.entries(versions).map(([version, state]) => {
    const error = state === "FAILED" ? { errorCode: "DATA_LOSS", errorMessage: "no good" } : { errorCode: "OK", errorMessage: "" };
    return { version: BigInt(version), state: state === "FAILED" ? "END" : state, ...error } as ModelVersionStatus;
  });

/** A server that answers a reload at once and applies it later, as the real one does for models that it knows. */
function lateServer(courses: Readonly<Record<string, Course>>) {
  const clock = clockWithoutWaits();
  const asked: string[] = [];
  const client: ConfigClient = {
    reloadConfig: async () => undefined,
    getModelStatus: async (name) => {
      const versions = courses[name]?.findLast(([afterMs]) => afterMs <= clock.now())?.[1];
      if (versions === undefined) throw new ServingError(`NOT_FOUND: ${name}`, { code: "NOT_FOUND" });
      return statuses(versions);
    },
    waitForModel: async ({ name, version }) => {
      asked.push(name);
      const all = await client.getModelStatus(name);
      const found = all.find((status) => status.state === "AVAILABLE" && (version === undefined || status.version === version));
      if (found === undefined) throw new ServingError(`DEADLINE_EXCEEDED: waitForModel ${name}`, { code: "DEADLINE_EXCEEDED" });
      return found;
    },
  };
  return { client, clock, asked };
}

const model = (name: string, versionPolicy: VersionPolicy, basePath = "/m"): ModelConfig => ({
  name,
  basePath,
  modelPlatform: "tensorflow",
  versionPolicy,
});

interface Change {
  readonly course: Course;
  readonly from?: ModelConfig;
  readonly to?: ModelConfig;
  readonly timeoutMs?: number;
}

async function applyChange({ course, from = model("m", { specific: [1n] }), to = model("m", { latest: 1 }), timeoutMs }: Change) {
  const { client, clock } = lateServer({ m: course });
  const options = { from: { models: [from] }, to: { models: [to] }, allowUnload: true, timeoutMs };
  const { available } = await applyByClock(client, options, clock);
  return { versions: available.map(({ version }) => version), tookMs: clock.now() };
}

describe("applyModelServerConfig of a server that looks at its folders a second later", () => {
  it.each<[string, Change, bigint[], number]>([
    [
      "the newest version instead of a list",
      {
        course: [
          [0, { 1: "AVAILABLE" }],
          [1000, { 3: "LOADING", 1: "AVAILABLE" }],
          [4000, { 3: "AVAILABLE", 1: "UNLOADING" }],
          [5000, { 3: "AVAILABLE", 1: "END" }],
        ],
      },
      [3n],
      5000,
    ],
    [
      "a base path with older versions",
      {
        from: model("m", { latest: 1 }, "/new"),
        to: model("m", { latest: 1 }, "/old"),
        course: [
          [0, { 5: "AVAILABLE", 4: "END" }],
          [1000, { 5: "AVAILABLE", 4: "END", 3: "START" }],
          [2000, { 5: "AVAILABLE", 4: "END", 3: "LOADING" }],
          [9000, { 5: "END", 4: "END", 3: "AVAILABLE" }],
        ],
      },
      [3n],
      9000,
    ],
    [
      "all versions",
      {
        to: model("m", "all"),
        course: [
          [0, { 1: "AVAILABLE" }],
          [900, { 3: "AVAILABLE", 2: "LOADING", 1: "AVAILABLE" }],
          [7000, { 3: "AVAILABLE", 2: "AVAILABLE", 1: "AVAILABLE" }],
        ],
      },
      [3n, 2n, 1n],
      7000,
    ],
    [
      "a model that is new to it",
      {
        from: model("other", { latest: 1 }),
        to: model("m", { latest: 2 }),
        course: [
          [500, { 2: "AVAILABLE", 1: "LOADING" }],
          [600, { 2: "AVAILABLE", 1: "AVAILABLE" }],
        ],
      },
      [2n, 1n],
      600,
    ],
    [
      "versions of which one had failed before",
      {
        course: [
          [0, { 2: "FAILED", 1: "AVAILABLE" }],
          [1000, { 3: "LOADING", 2: "FAILED", 1: "AVAILABLE" }],
          [2000, { 3: "AVAILABLE", 2: "FAILED", 1: "END" }],
        ],
      },
      [3n],
      2000,
    ],
    ["versions that are there already", { course: [[0, { 1: "AVAILABLE" }]] }, [1n], 0],
  ])("waits for %s", async (_title, change, versions, doneMs) => {
    const applied = await applyChange(change);
    expect(applied.versions.sort((a, b) => Number(b - a))).toEqual(versions);
    // The server may look a second later for the first time.
    expect(applied.tookMs).toBeGreaterThan(doneMs + 1000);
    expect(applied.tookMs).toBeLessThan(doneMs + 3000);
  });

  it("waits for all such models together, and only for those that change", async () => {
    const available: Course = [[0, { 1: "AVAILABLE" }]];
    const { client, clock, asked } = lateServer({ a: available, b: available, c: available });
    const [from, to] = [{ specific: [1n] }, { latest: 1 }];
    const { available: served } = await applyByClock(
      client,
      {
        from: { models: [model("a", from), model("b", from), model("c", to)] },
        to: { models: [model("a", to), model("b", to), model("c", to)] },
        allowUnload: true,
      },
      clock,
    );
    expect(served.map((each) => each.model)).toEqual(["a", "b", "c"]);
    expect(asked).toEqual(["c"]);
    expect(clock.now()).toBeLessThan(3000);
  });

  describe("rejects", () => {
    const said = "applyModelServerConfig: the server has the new configuration, but";
    it.each<[string, Change, Partial<ServingError>]>([
      [
        "when a version fails",
        {
          course: [
            [0, { 1: "AVAILABLE" }],
            [1000, { 3: "LOADING", 1: "AVAILABLE" }],
            [2000, { 3: "FAILED", 1: "AVAILABLE" }],
          ],
        },
        { code: "DATA_LOSS", message: `DATA_LOSS: ${said} m:3 failed to load: no good` },
      ],
      [
        "when a version fails that had failed before",
        {
          course: [
            [0, { 3: "FAILED", 1: "AVAILABLE" }],
            [1000, { 3: "LOADING", 1: "AVAILABLE" }],
            [2000, { 3: "FAILED", 1: "AVAILABLE" }],
          ],
        },
        { code: "DATA_LOSS" },
      ],
      [
        "when time runs out",
        {
          timeoutMs: 8000,
          course: [
            [0, { 1: "AVAILABLE" }],
            [1000, { 3: "LOADING", 2: "END", 1: "AVAILABLE" }],
          ],
        },
        {
          code: "DEADLINE_EXCEEDED",
          message: `DEADLINE_EXCEEDED: ${said} time ran out before 2000 ms had passed without loading or unloading; on its way: m:3 LOADING`,
        },
      ],
      [
        "when no version is left",
        {
          course: [
            [0, { 1: "AVAILABLE" }],
            [1000, { 1: "END" }],
          ],
        },
        { code: "DEADLINE_EXCEEDED", message: `DEADLINE_EXCEEDED: ${said} waitForModel m` },
      ],
    ])("%s", async (_title, change, expected) => {
      await expect(applyChange(change)).rejects.toMatchObject({ name: "ServingError", ...expected });
    });
  });
});
