#!/usr/bin/env node
/** What the shell runs. */
import { run } from "./main.js";

// A reader such as `head` has seen enough.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit();
  throw error;
});
void run(process.argv.slice(2), process).then((exitCode) => {
  process.exitCode = exitCode;
  // Once all is written: what a model left running must not keep a server that has ended.
  process.stdout.write("", () => process.stderr.write("", () => process.exit()));
});
