/** What a function throws, for tests that look at several of its properties; fails if it throws nothing. */
export function errorFrom(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error("expected an error, got none");
}
