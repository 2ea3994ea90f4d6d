/** The contract suite against a server that runs already: `TFSERVING_GRPC` and `TFSERVING_REST` say where (host:port). */
import { describe, it } from "vitest";
import { describeContract, reportSkipped } from "../transport/contract-describe.js";
import { realTargets } from "../transport/contract-targets.js";

const { TFSERVING_GRPC: grpc, TFSERVING_REST: rest, TFSERVING_MODELS: modelsPath } = process.env;
const targets = realTargets({ grpc, rest, modelsPath });

for (const target of targets) describeContract(target, " of a real server");

if (targets.length === 0) {
  describe("a real server", () => {
    const reason = "neither TFSERVING_GRPC nor TFSERVING_REST is set";
    reportSkipped("contract suite against a real server", reason);
    it.skip(`keeps the contract (${reason})`, () => undefined);
  });
}
