/** One server of the soak, in a process of its own so that it can be killed: arguments PORT of gRPC and of REST (0: any), and the share of calls to refuse. */
import { startModelServer } from "../../src/server/index.js";
import { modelName, soakModel } from "./workload.js";

const [grpcPort = 0, restPort = 0, refusedShare = 0] = process.argv.slice(2).map(Number);
const server = await startModelServer({ models: { [modelName]: soakModel }, grpcPort, restPort });
const refusals = server.faults.add({
  match: { method: "predict" },
  code: "UNAVAILABLE",
  message: "refused by the soak",
  probability: refusedShare,
});
const report = () => process.send?.({ grpcPort: server.grpcPort, restPort: server.restPort, refused: refusals.hits });
report();
setInterval(report, 500);
process.on("disconnect", () => process.exit());
