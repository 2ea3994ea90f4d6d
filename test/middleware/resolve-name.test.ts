import { describe, expect, it } from "vitest";
import { RepeatedLookup, resolveName } from "../../src/middleware/resolve-name.js";

describe("resolveName", () => {
  it("gives each address of a name once, without brackets", async () => {
    const addresses = await resolveName("localhost");
    expect(addresses.length).toBeGreaterThan(0);
    expect(["127.0.0.1", "::1"]).toEqual(expect.arrayContaining(addresses));
    expect(new Set(addresses).size).toBe(addresses.length);
  });

  it("gives addresses back as they are", async () => {
    expect(await resolveName("192.0.2.7")).toEqual(["192.0.2.7"]);
  });
});

/** A lookup with a clock that tests move, and questions they answer by hand. */
function setUp() {
  const clock = { now: 0 };
  const questions: { answer(text: string): void; fail(error: Error): void }[] = [];
  const answers: string[] = [];
  const lookup = new RepeatedLookup<string>({
    ask: () => new Promise((resolve, reject) => questions.push({ answer: resolve, fail: reject })),
    onAnswer: (answer) => {
      if (answer === "nonsense") throw new Error("not understood");
      answers.push(answer);
    },
    now: () => clock.now,
  });
  /** Ends the question that is under way. */
  async function end(outcome: string | Error): Promise<void> {
    const question = questions.at(-1);
    if (outcome instanceof Error) question?.fail(outcome);
    else question?.answer(outcome);
    await lookup.ask().catch(() => undefined);
  }
  return { clock, lookup, questions, answers, end };
}

describe("RepeatedLookup", () => {
  it("asks one question for all who wait, and a new one after it", async () => {
    const { lookup, questions, answers, end } = setUp();
    const waiting = [lookup.ask(), lookup.ask()];
    lookup.refresh();
    expect(questions.length).toBe(1);
    await end("one");
    await Promise.all(waiting);
    expect(answers).toEqual(["one"]);
    void lookup.ask();
    expect(questions.length).toBe(2);
  });

  it("refreshes what is 30 s old, counted from the question", async () => {
    const { clock, lookup, questions, end } = setUp();
    lookup.refresh();
    clock.now = 5000;
    await end("one");
    clock.now = 29_999;
    lookup.refresh();
    expect(questions.length).toBe(1);
    clock.now = 30_000;
    lookup.refresh();
    lookup.refresh();
    expect(questions.length).toBe(2);
  });

  it("refreshes at once what is in doubt, but only 1 s after the last question", async () => {
    const { clock, lookup, questions, end } = setUp();
    lookup.refresh();
    await end("one");
    clock.now = 10_000;
    lookup.doubt();
    expect(questions.length).toBe(2);
    await end("two");
    clock.now = 10_999;
    lookup.doubt();
    lookup.refresh();
    expect(questions.length).toBe(2);
    clock.now = 11_000;
    lookup.refresh();
    expect(questions.length).toBe(3);
  });

  it("asks again for a doubt that comes while a question is under way", async () => {
    const { clock, lookup, questions, end } = setUp();
    lookup.refresh();
    lookup.doubt();
    await end("one");
    expect(questions.length).toBe(1);
    clock.now = 1000;
    lookup.refresh();
    expect(questions.length).toBe(2);
  });

  it("does not ask more often because of failures", async () => {
    const { clock, lookup, questions, end } = setUp();
    lookup.refresh();
    await end(new Error("no network"));
    clock.now = 29_999;
    lookup.refresh();
    expect(questions.length).toBe(1);
  });

  it("takes no answer and asks nothing once it is closed", async () => {
    const { clock, lookup, questions, answers } = setUp();
    const waiting = lookup.ask();
    lookup.close();
    expect(lookup.isClosed).toBe(true);
    await expect(waiting).rejects.toThrow("aborted");
    questions[0]?.answer("late");
    clock.now = 60_000;
    lookup.refresh();
    await expect(lookup.ask()).rejects.toThrow("aborted");
    expect([questions.length, answers.length]).toEqual([1, 0]);
  });
});

describe("rejects", () => {
  it("a name without an address, in the words of the system", async () => {
    await expect(resolveName("no such host")).rejects.toThrow(/^getaddrinfo E[A-Z_]+ no such host$/);
  });

  it("who waits for a question that fails or whose answer is not understood", async () => {
    const { lookup, questions } = setUp();
    const failing = lookup.ask();
    questions[0]?.fail(new Error("no network"));
    await expect(failing).rejects.toThrow("no network");
    const misunderstood = lookup.ask();
    questions[1]?.answer("nonsense");
    await expect(misunderstood).rejects.toThrow("not understood");
  });
});
