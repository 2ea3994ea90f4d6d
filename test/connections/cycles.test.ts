/** A small version of `npm run cycles`, which runs thousands. */
import { describe, expect, it } from "vitest";
import { cycleTransports, maxHeapGrowthMb, runCycles } from "../../scripts/cycles.js";

describe.each(cycleTransports)("100 clients that connect, call and close over %s", (transport) => {
  it("leave no handles and sockets behind, and the heap as it was", async () => {
    const tenths: number[] = [];
    const growth = await runCycles({ count: 100, transport, onTenth: (cycles) => tenths.push(cycles) });
    expect(growth.failures).toEqual([]);
    // The test runner has timers and pipes of its own, which come and go.
    expect(growth.handles).toBeLessThanOrEqual(2);
    expect(growth.sockets).toBeLessThanOrEqual(0);
    expect(growth.heapMb).toBeLessThanOrEqual(maxHeapGrowthMb);
    expect(tenths).toEqual([10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
  });
});
