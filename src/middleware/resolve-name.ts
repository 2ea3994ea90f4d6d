/** From a host name to its addresses, now and again. */
import { unlessAborted } from "../deadline.js";

/**
 * The addresses of a host, each once, in the order the system gives them; an address is its own.
 *
 * IPv6 addresses come without brackets. The hosts file counts, as it does for every connection of Node.
 *
 * @throws The system's error, such as `getaddrinfo ENOTFOUND host`.
 */
export async function resolveName(host: string): Promise<string[]> {
  // Not imported, so that a client that resolves nothing does not load it.
  const { promises, ADDRCONFIG } = process.getBuiltinModule("node:dns");
  // As Node connects: on a machine without IPv6 such addresses would be endpoints that always fail. Offline, Windows hides localhost then.
  const hints = process.platform === "win32" ? 0 : ADDRCONFIG;
  const found = await promises.lookup(host, { all: true, order: "verbatim", hints });
  return [...new Set(found.map(({ address }) => address))];
}

/** How old an answer gets before a call has the question asked again. */
const maxAgeMs = 30_000;

/** The same after a lost connection: the addresses may have changed, but a server that stays down must not mean a question per call. */
const maxAgeAfterLossMs = 1000;

/** What a {@link RepeatedLookup} is made of. */
export interface RepeatedLookupSteps<Answer> {
  /** Ask once. */
  ask(): Promise<Answer>;
  /** Is told every answer; what it throws counts as a failure to get one. */
  onAnswer(answer: Answer): void;
  /** Milliseconds. */
  now(): number;
}

/** Asks for the same thing again and again, one question at a time, but only when calls come: without a timer, an idle client asks nobody. */
export class RepeatedLookup<Answer> {
  readonly #steps: RepeatedLookupSteps<Answer>;
  readonly #closing = new AbortController();
  #underWay: Promise<void> | undefined;
  #askedAt = Number.NEGATIVE_INFINITY;
  #maxAgeMs = maxAgeMs;

  constructor(steps: RepeatedLookupSteps<Answer>) {
    this.#steps = steps;
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** Wait for the answer to the question that is under way or, if none is, to a new one; rejects as that fails, and on close. */
  ask(): Promise<void> {
    this.#underWay ??= this.#askOnce().finally(() => {
      this.#underWay = undefined;
    });
    return this.#underWay;
  }

  /** Ask in the background if the last question was long ago. */
  refresh(): void {
    if (this.#underWay !== undefined || this.#steps.now() - this.#askedAt < this.#maxAgeMs) return;
    // Whatever fails here, the last answer is still there.
    this.ask().catch(() => undefined);
  }

  /** Ask in the background, now or soon: there is reason to doubt the last answer. */
  doubt(): void {
    this.#maxAgeMs = maxAgeAfterLossMs;
    this.refresh();
  }

  /** Ask no more, and take no answer any more. */
  close(): void {
    this.#closing.abort();
  }

  async #askOnce(): Promise<void> {
    const { signal } = this.#closing;
    signal.throwIfAborted();
    this.#askedAt = this.#steps.now();
    this.#maxAgeMs = maxAgeMs;
    const answer = await unlessAborted(signal, this.#steps.ask());
    signal.throwIfAborted();
    this.#steps.onAnswer(answer);
  }
}
