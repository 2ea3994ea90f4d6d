/** Two ways to do the same, timed in turn in one process: the machine's noise hits both, so the ratio holds where times do not. */

const rounds = 9;
const roundMs = 60;

/** Time per run in microseconds, over about {@link roundMs}. */
function timeOf(run: () => unknown, repeats: number): number {
  const start = performance.now();
  for (let i = 0; i < repeats; i++) run();
  return ((performance.now() - start) * 1000) / repeats;
}

function repeatsFor(run: () => unknown): number {
  const start = performance.now();
  let count = 0;
  while (performance.now() - start < roundMs) {
    run();
    count++;
  }
  return Math.max(1, count);
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] as number;
}

/** Print how many times faster the first is than the second: the median over rounds of the ratio in each round. */
export function compare(label: string, ours: () => unknown, theirs: () => unknown): void {
  const repeats = [repeatsFor(ours), repeatsFor(theirs)] as const;
  const times = Array.from({ length: rounds }, () => [timeOf(ours, repeats[0]), timeOf(theirs, repeats[1])] as const);
  const ratios = times.map(([own, peer]) => peer / own);
  const time = median(times.map(([own]) => own)).toFixed(1);
  const range = `${Math.min(...ratios).toFixed(1)}-${Math.max(...ratios).toFixed(1)}`;
  console.log(`${label}: ${median(ratios).toFixed(1)}x (${range}), ours ${time} us`);
}
