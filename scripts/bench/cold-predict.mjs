/** A process that makes one predict call with the built package. Usage: cold-predict.mjs TARGET */
import { PredictionClient, tensor } from "tfserving";

const client = new PredictionClient(process.argv[2]);
const { outputs } = await client.predict("m", { x: tensor("float32", [1, 4], [1, 2, 3, 4]) });
if (outputs["y"].shape[1] !== 4) throw new Error(`expected 4 values in the answer, got shape [${outputs["y"].shape}]`);
await client.close();
