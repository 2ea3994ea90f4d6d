/** When calls that wait go out together: a queue, limits and a schedule. It knows nothing of tensors and settles nobody. */

/** A call that waits for a batch. */
export interface BatchMember {
  readonly rows: number;
  readonly bytes: number;
}

/** Why a batch went out. */
export type FlushReason = "full" | "delay" | "idle";

/** How large batches become, and how long calls wait for one. */
export interface BatchLimits {
  readonly maxRows: number;
  readonly maxBytes: number;
  readonly maxDelayMs: number;
  readonly maxInFlight: number;
}

/** What passes time; tests bring their own. */
export interface BatchSchedule {
  /** Milliseconds. */
  now(): number;
  /** Run something once the events at hand have been dealt with, so that calls made because of them are in the batch, too. */
  soon(run: () => void): void;
  /** Run something after a time, unless what comes back is called before. */
  after(delayMs: number, run: () => void): () => void;
}

/** One call in the queue. */
interface Waiting<Member> {
  readonly member: Member;
  readonly since: number;
}

/** The members of one batch, and how long the first of them has waited. */
export interface Flushed<Member> {
  readonly members: readonly Member[];
  readonly reason: FlushReason;
  readonly waitedMs: number;
}

/**
 * The queue of calls that may share a batch.
 *
 * A batch goes out when it is full, when its first call has waited for `maxDelayMs`, or as soon as none is in flight; but never more than
 * `maxInFlight` at once, so that a slow server gets larger batches rather than more of them.
 */
export class Batcher<Member extends BatchMember> {
  readonly #limits: BatchLimits;
  readonly #send: (batch: Flushed<Member>) => Promise<void>;
  readonly #onIdle: () => void;
  readonly #schedule: BatchSchedule;
  /** In the order they came; a call that gives up is taken out wherever it stands. */
  readonly #waiting = new Map<Member, Waiting<Member>>();
  #rows = 0;
  #bytes = 0;
  #inFlight = 0;
  #isIdleFlushDue = false;
  /** The call that the timer was set for: the first in the queue. */
  #watched: Waiting<Member> | undefined;
  #stopTimer: (() => void) | undefined;
  /** Whether the first call has waited long enough. */
  #isOverdue = false;

  /**
   * @param send - Carries a batch and settles its members; never rejects.
   * @param onIdle - Is told when nothing waits and nothing is in flight any more.
   */
  constructor(limits: BatchLimits, send: (batch: Flushed<Member>) => Promise<void>, onIdle: () => void, schedule: BatchSchedule) {
    this.#limits = limits;
    this.#send = send;
    this.#onIdle = onIdle;
    this.#schedule = schedule;
  }

  /** A call lines up; it has no more rows and bytes than a batch may have. */
  add(member: Member): void {
    this.#waiting.set(member, { member, since: this.#schedule.now() });
    this.#rows += member.rows;
    this.#bytes += member.bytes;
    this.#flush();
  }

  /** A call leaves the queue, if it still stands there. */
  remove(member: Member): boolean {
    if (!this.#leave(member)) return false;
    // The call that is first now may be late already: its own timer was to run at this very time.
    this.#flush();
    this.#tellIfIdle();
    return true;
  }

  #leave(member: Member): boolean {
    if (!this.#waiting.delete(member)) return false;
    this.#rows -= member.rows;
    this.#bytes -= member.bytes;
    if (this.#watched?.member === member) this.#watch(undefined);
    return true;
  }

  /** Send what is due. */
  #flush(): void {
    for (;;) {
      const isFull = this.#isFull();
      // What goes out soon needs no timer, which would take a lone caller a tenth of its time.
      if (this.#inFlight === 0 && this.#waiting.size > 0 && !isFull && !this.#isOverdue && this.#limits.maxDelayMs > 0) {
        this.#flushWhenIdle();
        return;
      }
      this.#watchFirst();
      if (this.#inFlight >= this.#limits.maxInFlight || !(isFull || this.#isOverdue)) return;
      this.#sendNext(isFull ? "full" : "delay");
    }
  }

  #isFull(): boolean {
    return this.#rows >= this.#limits.maxRows || this.#bytes >= this.#limits.maxBytes;
  }

  #flushWhenIdle(): void {
    if (this.#isIdleFlushDue) return;
    this.#isIdleFlushDue = true;
    this.#schedule.soon(() => {
      this.#isIdleFlushDue = false;
      if (this.#inFlight === 0 && this.#waiting.size > 0) this.#sendNext("idle");
      this.#flush();
    });
  }

  /** Have the timer run for the call that is first now. */
  #watchFirst(): void {
    const [first] = this.#waiting.values();
    if (first !== this.#watched) this.#watch(first);
  }

  #watch(first: Waiting<Member> | undefined): void {
    this.#stopTimer?.();
    this.#stopTimer = undefined;
    this.#watched = first;
    const remainingMs = first === undefined ? Number.POSITIVE_INFINITY : first.since + this.#limits.maxDelayMs - this.#schedule.now();
    this.#isOverdue = remainingMs <= 0;
    if (first === undefined || this.#isOverdue) return;
    this.#stopTimer = this.#schedule.after(remainingMs, () => {
      this.#isOverdue = true;
      this.#flush();
    });
  }

  #sendNext(reason: FlushReason): void {
    const { members, waitedMs } = this.#take();
    this.#inFlight++;
    void this.#send({ members, reason, waitedMs }).then(() => {
      this.#inFlight--;
      this.#flush();
      this.#tellIfIdle();
    });
  }

  #tellIfIdle(): void {
    if (this.#waiting.size === 0 && this.#inFlight === 0) this.#onIdle();
  }

  /** The next calls that fit into one batch: at least the first, in their order. */
  #take(): { members: Member[]; waitedMs: number } {
    const members: Member[] = [];
    let [rows, bytes, waitedMs] = [0, 0, 0];
    for (const { member, since } of this.#waiting.values()) {
      rows += member.rows;
      bytes += member.bytes;
      if (members.length > 0 && (rows > this.#limits.maxRows || bytes > this.#limits.maxBytes)) break;
      if (members.length === 0) waitedMs = this.#schedule.now() - since;
      members.push(member);
      this.#leave(member);
    }
    return { members, waitedMs };
  }
}
