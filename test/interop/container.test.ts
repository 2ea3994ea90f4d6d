/**
 * The contract suite against TensorFlow Serving in a container, where Docker and the image are here.
 *
 * `TFSERVING_IMAGE` names another image, `TFSERVING_GPUS` (`all` or a number) hands GPUs to it.
 */
import { afterAll, describe, it } from "vitest";
import { describeContract, reportSkipped } from "../transport/contract-describe.js";
import { realTargets } from "../transport/contract-targets.js";
import { reasonAgainstContainer, startServingContainer } from "./serving-container.js";

const options = { image: process.env["TFSERVING_IMAGE"] ?? "tensorflow/serving:2.20.0", gpus: process.env["TFSERVING_GPUS"] };
const reason = await reasonAgainstContainer(options);

if (reason === undefined) {
  const server = await startServingContainer(options);
  afterAll(() => server.stop());
  for (const target of realTargets(server)) describeContract(target, ` of ${options.image}`);
} else {
  describe("a container", () => {
    reportSkipped(`contract suite against ${options.image}`, reason);
    it.skip(`keeps the contract (${reason})`, () => undefined);
  });
}
