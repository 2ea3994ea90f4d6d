/** The embedded server with the models of `npm run bench -- batching`. Sends its port of gRPC to the parent and ends with it. */
import { startModelServer } from "../../src/server/index.js";
import { type Servable, servable } from "../../src/server/servable.js";
import { tensor } from "../../src/tensor/tensor.js";
import { answerFloats, type BatchingModel, rowFloats } from "./batching.js";
import { sendToParent } from "./processes.js";

/** Answers the first values of each row, and keeps the CPU busy before. */
function model(msPerRun: number, msPerRow: number): Servable {
  return servable({
    signatures: {
      serving_default: {
        inputs: { x: { dtype: "float32", shape: [null, rowFloats] } },
        outputs: { y: { dtype: "float32", shape: [null, answerFloats] } },
      },
    },
    predict({ x }) {
      const [rows] = x.shape as [number];
      // Nothing else runs in this process meanwhile: one run at a time.
      if (msPerRun > 0) keepBusy(msPerRun + msPerRow * rows);
      const y = new Float32Array(rows * answerFloats);
      for (let row = 0; row < rows; row++) {
        for (let i = 0; i < answerFloats; i++) y[row * answerFloats + i] = x.values[row * rowFloats + i] as number;
      }
      return { y: tensor("float32", [rows, answerFloats], y) };
    },
  });
}

function keepBusy(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

const models: Record<BatchingModel, Servable> = { trivial: model(0, 0), costed: model(2, 0.05) };
const { grpcPort } = await startModelServer({ models });
process.on("disconnect", () => process.exit());
sendToParent(grpcPort);
