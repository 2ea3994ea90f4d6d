/** What the servers of these tests serve. */
import { setTimeout as pause } from "node:timers/promises";
import { servable } from "../../src/server/index.js";

/** How long the model `slow` takes, in milliseconds. */
export const slowMs = 400;

function doubling(delayMs: number) {
  return servable({
    signatures: {
      serving_default: { inputs: { x: { dtype: "float32", shape: [null] } }, outputs: { y: { dtype: "float32", shape: [null] } } },
    },
    async predict({ x }, { signal }) {
      if (delayMs > 0) await pause(delayMs, undefined, { signal });
      return { y: x.values.map((value) => 2 * value) };
    },
  });
}

/** `y = 2x`: at once, after {@link slowMs}, or later than any call of these tests waits. */
export const models = { double: doubling(0), slow: doubling(slowMs), stuck: doubling(60_000) };

/** Name of a model of {@link models}. */
export type ModelName = keyof typeof models;
