/** The embedded server in a process of its own: arguments PORT of gRPC and of REST (0: any); tells its parent the ports. */
import { startModelServer } from "../../src/server/index.js";
import { models } from "./models.js";
import type { ServerReport } from "./processes.js";

const [grpcPort = 0, restPort = 0] = process.argv.slice(2).map(Number);
const server = await startModelServer({ models, grpcPort, restPort });
process.send?.({ grpcPort: server.grpcPort, restPort: server.restPort } satisfies ServerReport);
process.on("disconnect", () => process.exit());
