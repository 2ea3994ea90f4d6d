/**
 * Add up test reports and print `N passed, N failed, N skipped`; ends with status 1 when anything failed or nothing ran.
 *
 * Usage: node scripts/count-tests.mjs REPORT.json... Reports are Vitest's JSON, of which only the three counts are read.
 */
import { readFileSync } from "node:fs";

const total = { passed: 0, failed: 0, skipped: 0 };
for (const path of process.argv.slice(2)) {
  const report = JSON.parse(readFileSync(path, "utf8"));
  total.passed += report.numPassedTests;
  total.failed += report.numFailedTests;
  total.skipped += report.numPendingTests + (report.numTodoTests ?? 0);
  // A test file that cannot even be loaded holds no tests to count.
  total.failed += (report.testResults ?? []).filter((file) => file.status === "failed" && file.assertionResults.length === 0).length;
}
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
if (total.failed > 0 || total.passed === 0) process.exitCode = 1;
