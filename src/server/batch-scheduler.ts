/**
 * When requests that wait are run together: queues of batches, and the threads that run them. It knows nothing of tensors.
 *
 * Rules and texts are those of TensorFlow's `SharedBatchScheduler` (`shared_batch_scheduler.h`), as TensorFlow Serving 2.20.0 uses it.
 */
import type { Clock } from "./clock.js";
import { refusal } from "./refusal.js";

/** How large batches become, how long they wait, and how many of them. */
export interface BatchRules {
  /** Rows of one request. */
  readonly maxRequestRows: number;
  /** Rows of one batch; less than {@link maxRequestRows} only where requests are split. */
  readonly maxBatchRows: number;
  readonly splitsRequests: boolean;
  /** How long the first request of a batch waits for others. */
  readonly timeoutMs: number;
  /** Batches that wait in one queue, the one that is being filled among them. */
  readonly maxWaitingBatches: number;
  /** Batches that run at once, of all queues. */
  readonly threads: number;
}

/** A request, or a part of one. */
export interface BatchTask {
  readonly rows: number;
  /** Ends the wait of one that is not run. */
  readonly reject: (error: Error) => void;
}

/** What a queue does with its tasks. */
export interface BatchWork<Task> {
  /** Tasks of these rows in place of one with as many in all. */
  split(task: Task, rows: readonly number[]): readonly Task[];
  /** Runs the tasks of a batch and settles them; never rejects. */
  run(tasks: readonly Task[]): Promise<void>;
}

class Batch<Task extends BatchTask> {
  readonly tasks: Task[] = [];
  rows = 0;
  /** When its first task came. */
  startedAt = 0;
}

/** Requests of one kind, which may share a batch. */
class BatchQueue<Task extends BatchTask> {
  readonly #rules: BatchRules;
  readonly #work: BatchWork<Task>;
  /** The last one is being filled. */
  #batches = [new Batch<Task>()];

  constructor(rules: BatchRules, work: BatchWork<Task>) {
    this.#rules = rules;
    this.#work = work;
  }

  add(task: Task, now: number): void {
    this.#assertRoom(task.rows);
    const sizes = this.#pieces(task.rows);
    for (const piece of sizes.length === 1 ? [task] : this.#work.split(task, sizes)) {
      if (this.#open.rows + piece.rows > this.#rules.maxBatchRows) this.#batches.push(new Batch());
      if (this.#open.rows === 0) this.#open.startedAt = now;
      this.#open.tasks.push(piece);
      this.#open.rows += piece.rows;
    }
  }

  /** Whether a task waits. */
  get isWaiting(): boolean {
    return this.#batches.length > 1 || this.#open.tasks.length > 0;
  }

  /** When a batch can run: in the past for those that can now, never for one without rows, which waits for others as in the real server. */
  get readyAt(): number {
    if (this.#batches.length > 1 || this.#open.rows >= this.#rules.maxBatchRows) return Number.NEGATIVE_INFINITY;
    return this.#open.rows === 0 ? Number.POSITIVE_INFINITY : this.#open.startedAt + this.#rules.timeoutMs;
  }

  /** Runs the oldest batch. */
  runNext(): Promise<void> {
    const [batch, ...rest] = this.#batches as [Batch<Task>, ...Batch<Task>[]];
    this.#batches = rest.length > 0 ? rest : [new Batch()];
    return this.#work.run(batch.tasks);
  }

  /** Runs nothing of what waits. */
  reject(error: Error): void {
    const waiting = this.#batches;
    this.#batches = [new Batch()];
    for (const { tasks } of waiting) for (const task of tasks) task.reject(error);
  }

  get #open(): Batch<Task> {
    return this.#batches.at(-1) as Batch<Task>;
  }

  #assertRoom(rows: number): void {
    const { maxRequestRows, maxBatchRows, maxWaitingBatches, splitsRequests } = this.#rules;
    if (rows > maxRequestRows) {
      throw refusal("INVALID_ARGUMENT", `Task size ${rows} is larger than maximum input batch size ${maxRequestRows}`);
    }
    const full = "The batch scheduling queue to which this task was submitted is full";
    const waiting = this.#batches.length;
    if (!splitsRequests) {
      if (this.#open.rows + rows <= maxBatchRows || waiting < maxWaitingBatches) return;
      const text = `currently ${waiting} batches enqueued and max_enqueued_batches is ${maxWaitingBatches}`;
      throw refusal("UNAVAILABLE", `${full}; ${text}`);
    }
    const capacity = (maxWaitingBatches - waiting) * maxBatchRows + maxBatchRows - this.#open.rows;
    if (rows <= capacity) return;
    const state =
      `num_enqueued_batches=${waiting}, max_enqueued_batches=${maxWaitingBatches}, ` +
      `open_batch_size=${this.#open.rows}, max_execution_batch_size=${maxBatchRows}`;
    throw refusal("UNAVAILABLE", `${full}; task size is ${rows} but scheduling capacity is only ${capacity} (${state})`);
  }

  /** Rows of the parts a request is run in: what the open batch has room for, then whole batches. */
  #pieces(rows: number): number[] {
    const { splitsRequests, maxBatchRows } = this.#rules;
    const room = maxBatchRows - this.#open.rows;
    if (!splitsRequests || rows <= room) return [rows];
    const pieces = room > 0 ? [room] : [];
    for (let left = rows - room; left > 0; left -= maxBatchRows) pieces.push(Math.min(left, maxBatchRows));
    return pieces;
  }
}

/** A queue, whatever its tasks are. */
type AnyQueue = Pick<BatchQueue<BatchTask>, "isWaiting" | "readyAt" | "runNext" | "reject">;

/** The queues of a server and the threads they share. */
export class BatchScheduler {
  readonly #rules: BatchRules;
  readonly #clock: Clock;
  /** Queues in which tasks wait, the one to be looked at next first. */
  readonly #waiting = new Set<AnyQueue>();
  #running = 0;
  #isFlushed = false;
  #stopTimer: () => void = () => undefined;

  constructor(rules: BatchRules, clock: Clock) {
    this.#rules = rules;
    this.#clock = clock;
  }

  /**
   * A new queue, as the function that puts a task into it.
   *
   * That one throws ServingError UNAVAILABLE if the queue is full, INVALID_ARGUMENT if the task has too many rows.
   */
  queue<Task extends BatchTask>(work: BatchWork<Task>): (task: Task) => void {
    const queue = new BatchQueue(this.#rules, work);
    return (task) => {
      queue.add(task, this.#clock.now());
      this.#waiting.add(queue);
      this.#runReady();
    };
  }

  /** Lets nothing wait for others from here on; what waits is run as threads become free. */
  flush(): void {
    this.#isFlushed = true;
    this.#runReady();
  }

  /** Rejects all that waits. */
  close(error: Error): void {
    this.#stopTimer();
    for (const queue of this.#waiting) queue.reject(error);
    this.#waiting.clear();
  }

  #runReady(): void {
    this.#stopTimer();
    while (this.#running < this.#rules.threads) {
      const queue = this.#nextReady();
      if (queue === undefined) break;
      this.#running++;
      const ended = () => {
        this.#running--;
        this.#runReady();
      };
      queue.runNext().then(ended, ended);
      // Behind the others, so that each queue has its turn.
      this.#waiting.delete(queue);
      if (queue.isWaiting) this.#waiting.add(queue);
    }
    if (this.#running < this.#rules.threads) this.#wakeUpForNext();
  }

  #nextReady(): AnyQueue | undefined {
    const now = this.#clock.now();
    for (const queue of this.#waiting) if (this.#isFlushed || queue.readyAt <= now) return queue;
    return undefined;
  }

  #wakeUpForNext(): void {
    let next = Number.POSITIVE_INFINITY;
    for (const { readyAt } of this.#waiting) next = Math.min(next, readyAt);
    if (next !== Number.POSITIVE_INFINITY) this.#stopTimer = this.#clock.after(next - this.#clock.now(), () => this.#runReady());
  }
}
