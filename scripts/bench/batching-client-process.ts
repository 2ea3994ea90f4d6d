/** Slices of Predict calls with one row each. Arguments: PORT MODEL BATCHING: options as JSON, or `null` for calls on their own. */
import { type BatchingOptions, PredictionClient, tensor } from "../../src/index.js";
import { rowFloats } from "./batching.js";
import { serveSlices } from "./slices.js";

const [port, model = "", json = ""] = process.argv.slice(2);
const batching = JSON.parse(json) as BatchingOptions | null;
const client = new PredictionClient("127.0.0.1", Number(port), batching === null ? {} : { batching });
const values = Float32Array.from({ length: rowFloats }, Math.random);
await serveSlices({
  predict: () => client.predict(model, { x: tensor("float32", [1, rowFloats], values) }),
  close: () => client.close(),
});
