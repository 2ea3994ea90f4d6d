/** A client in a process of its own, of the server at argument TARGET: every message asks for a call, and one that answers tells the outcome. */
import { PredictionClient, tensor } from "../../src/index.js";
import type { CallOutcome, CallRequest } from "./processes.js";

const [target = ""] = process.argv.slice(2);
const client = new PredictionClient(target);
const tell = (outcome: CallOutcome) => process.send?.(outcome);

process.on("message", async ({ id, model, x, timeoutMs }: CallRequest) => {
  try {
    const { outputs } = await client.predict(model, { x: tensor("float32", [1], [x]) }, { timeoutMs });
    tell({ id, answer: outputs.y?.toNested() });
  } catch (error) {
    tell({ id, error: (error as Error).message });
  }
});
process.on("disconnect", () => process.exit());
tell({ id: 0 });
