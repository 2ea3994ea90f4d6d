/** All recorded exchanges, on servers as they were recorded on. */
import { exchanges, readGolden } from "./golden-exchanges.js";
import { type Outcome, runMain } from "./golden-run.js";
import { runFlags, runScenarios } from "./golden-servers.js";

const mainFiles = ["predict-grpc", "predict-rest", "classify-regress", "metadata-status", "errors-grpc", "errors-rest"];
const ownServerFiles = ["flags", "batching", "metrics"];

/** What became of every exchange of `index.json`, in its order. */
export async function runGolden(): Promise<Outcome[]> {
  // One after the other: some compare times.
  const main = await runMain(mainFiles.flatMap(exchanges));
  const others = await runFlags(ownServerFiles.flatMap(exchanges));
  const scenarios = await runScenarios(exchanges("reload-lifecycle"));
  const found = new Map([...main, ...others, ...scenarios].map((outcome) => [outcome.id, outcome]));
  const { entries } = readGolden<{ entries: readonly { readonly id: string }[] }>("index.json");
  return entries.map(({ id }) => found.get(id) ?? { id, result: "failed", reason: "it was not sent" });
}
