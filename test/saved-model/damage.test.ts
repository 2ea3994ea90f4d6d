import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { isServingError } from "../../src/errors.js";
import { readBundle, readTensorContent } from "../../src/saved-model/checkpoint/bundle.js";
import { readSavedModel } from "../../src/saved-model/index.js";
import { Random } from "../support/random.js";
import { copyOf, pathOf } from "./saved-model-fixtures.js";

const rounds = 500;
const seed = 20260801;

/** What comes of reading: a result, or the error, which must be one of ours. */
async function outcomeOf<T>(read: () => Promise<T>): Promise<T | "FormatError"> {
  try {
    return await read();
  } catch (error) {
    if (isServingError(error, "FormatError")) return "FormatError";
    throw error;
  }
}

describe("a damaged model", () => {
  it("gives a FormatError when saved_model.pb is cut off anywhere", async () => {
    const dir = copyOf(pathOf("tf1_frozen", "1"));
    const path = join(dir, "saved_model.pb");
    const whole = readFileSync(path);
    for (let end = 0; end < whole.length; end++) {
      writeFileSync(path, whole.subarray(0, end));
      expect(await outcomeOf(() => readSavedModel(dir)), `cut off at ${end}`).toBe("FormatError");
    }
  });

  it("gives a FormatError, another model or none with these tags when bytes of saved_model.pb change", async () => {
    const dir = copyOf(pathOf("signature_defaults", "1"));
    const path = join(dir, "saved_model.pb");
    const whole = readFileSync(path);
    const random = new Random(seed);
    for (let round = 0; round < rounds; round++) {
      const damaged = new Uint8Array(whole);
      // The graph comes first and is stepped over: half of the damage is behind it.
      const from = round % 2 === 0 ? 0 : whole.length - 1200;
      for (let i = 0; i < 3; i++) damaged[from + random.below(whole.length - from)] = random.below(256);
      writeFileSync(path, damaged);
      const outcome = await readSavedModel(dir).catch((error: unknown) => error);
      if (outcome instanceof Error) expect(isServingError(outcome), `seed ${seed}, round ${round}: ${outcome.stack}`).toBe(true);
    }
  });

  it.each(["half_plus_two/00000123", "tf1_saver/1"])("%s cut off anywhere in variables.index gives a FormatError", async (model) => {
    const dir = copyOf(pathOf(model));
    const path = join(dir, "variables", "variables.index");
    const whole = readFileSync(path);
    for (let end = 0; end < whole.length; end++) {
      writeFileSync(path, whole.subarray(0, end));
      expect(await outcomeOf(() => readSavedModel(dir)), `cut off at ${end}`).toBe("FormatError");
    }
  });

  it("lists the same tensors or gives a FormatError when a bit of any byte of variables.index changes", async () => {
    const dir = copyOf(pathOf("tf1_saver", "1"));
    const prefix = join(dir, "variables", "variables");
    const path = `${prefix}.index`;
    const whole = readFileSync(path);
    const intact = await readBundle(prefix);
    for (let at = 0; at < whole.length; at++) {
      const damaged = new Uint8Array(whole);
      damaged[at] = (damaged[at] as number) ^ (1 << (at & 7));
      writeFileSync(path, damaged);
      const outcome = await outcomeOf(() => readBundle(prefix));
      if (outcome !== "FormatError") expect(outcome, `changed at ${at}`).toEqual(intact);
    }
  });

  it("gives a FormatError when a byte of a tensor changes or is not there", async () => {
    const dir = copyOf(pathOf("tf1_saver", "1"));
    const prefix = join(dir, "variables", "variables");
    const path = `${prefix}.data-00000-of-00001`;
    const whole = readFileSync(path);
    const bundle = await readBundle(prefix);
    if (bundle === undefined) throw new Error("expected a checkpoint");
    const readAll = () => Promise.all([...bundle.tensors.keys()].map((name) => readTensorContent(bundle, name)));
    for (let at = 0; at < whole.length; at++) {
      writeFileSync(path, whole.subarray(0, at));
      expect(await outcomeOf(readAll), `cut off at ${at}`).toBe("FormatError");
      const damaged = new Uint8Array(whole);
      damaged[at] = (damaged[at] as number) ^ 4;
      writeFileSync(path, damaged);
      expect(await outcomeOf(readAll), `changed at ${at}`).toBe("FormatError");
    }
  });
});
