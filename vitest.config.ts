import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // Tests open real sockets and child processes: on two cores more workers only make their time limits tight.
    maxWorkers: 2,
  },
});
