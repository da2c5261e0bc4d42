import { setTimeout as delay } from "node:timers/promises";
import { expect, it } from "vitest";
import { Lifecycle } from "../../../src/core/lifecycle.js";

it("stops what was started last first, and nothing is skipped because another fails or hangs", async () => {
  const problems: string[] = [];
  const stopped: string[] = [];
  const life = new Lifecycle((message) => problems.push(message));
  life.onStop("first", () => { stopped.push("first"); });
  life.onStop("hangs", () => new Promise<void>(() => undefined), 10);
  life.onStop("throws", () => { throw new Error("broken"); });
  life.onStop("rejects", async () => { stopped.push("rejects"); throw new Error("late"); });
  await Promise.all([life.stop("test"), life.stop("again")]);
  expect(stopped).toEqual(["rejects", "first"]);
  expect(problems).toEqual(["rejects failed to stop: late", "throws failed to stop: broken", "hangs did not stop within 10 ms"]);
});

it("does not complain about what stopped in time, however long the rest takes", async () => {
  const problems: string[] = [];
  const life = new Lifecycle((message) => problems.push(message));
  life.onStop("slow", () => delay(60));
  life.onStop("quick", () => undefined, 10);
  await life.stop("test");
  expect(problems).toEqual([]);
});
