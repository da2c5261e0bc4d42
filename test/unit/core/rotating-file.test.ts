import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RotatingFile } from "../../../src/core/rotating-file.js";
import { canMount, fillDisk, mountSmallDisk, unmountSmallDisk } from "../../support/disks.js";
import { until } from "../../support/wait.js";

let scratch: string;
let path: string;
beforeEach(() => { scratch = mkdtempSync(join(tmpdir(), "minid-rotate-")); path = join(scratch, "logs", "agent.log"); });
afterEach(() => { for (const file of opened.splice(0)) file.closeSync(); rmSync(scratch, { recursive: true, force: true }); });

const opened: RotatingFile[] = [];
const fileOf = (bytesMax: number, filesMax: number) => {
  const file = new RotatingFile({ path, bytesMax, filesMax, lostLine: (lines) => `{"lost":${lines}}\n` });
  opened.push(file);
  return file;
};
const line = (index: number) => `${JSON.stringify({ index, pad: "x".repeat(80) })}\n`;
const lines = (file: string) => readFileSync(file, "utf8").split("\n").filter(Boolean).map((text) => JSON.parse(text) as { index?: number; lost?: number });

describe("a rotating log file", () => {
  it("keeps as many files as it may, none larger than it may be, no line torn or lost but those of files that are gone", async () => {
    const file = fileOf(2_000, 4);
    for (let index = 0; index < 500; index += 1) {
      file.write(line(index));
      if (index % 5 === 0) await file.flush();
    }
    await file.flush();
    const names = readdirSync(join(scratch, "logs")).sort();
    expect(names).toEqual(["agent.log", "agent.log.1", "agent.log.2", "agent.log.3"]);
    for (const name of names) expect(statSync(join(scratch, "logs", name)).size).toBeLessThanOrEqual(2_000);
    const kept = names.toReversed().flatMap((name) => lines(join(scratch, "logs", name)).map(({ index }) => index!));
    expect(kept).toEqual(Array.from({ length: kept.length }, (_, index) => 500 - kept.length + index));
    expect(statSync(path).mode & 0o077).toBe(0);
  });

  it("keeps only the newest where one file is all it may have", async () => {
    const file = fileOf(500, 1);
    for (let index = 0; index < 20; index += 1) { file.write(line(index)); await file.flush(); }
    expect(readdirSync(join(scratch, "logs"))).toEqual(["agent.log"]);
    expect(lines(path).at(-1)?.index).toBe(19);
  });

  it("is shared by two writers, whichever of them rotates", async () => {
    const [one, other] = [fileOf(3_000, 50), fileOf(3_000, 50)];
    for (let index = 0; index < 200; index += 1) {
      (index % 2 === 0 ? one : other).write(line(index));
      if (index % 3 === 0) await Promise.all([one.flush(), other.flush()]);
    }
    await Promise.all([one.flush(), other.flush()]);
    const seen = readdirSync(join(scratch, "logs")).flatMap((name) => lines(join(scratch, "logs", name)).map(({ index }) => index!));
    expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: 200 }, (_, index) => index));
  });

  it("writes what waits when the process ends", () => {
    const file = fileOf(10_000, 2);
    file.write(line(1));
    file.closeSync();
    expect(lines(path).map(({ index }) => index)).toEqual([1]);
  });

  it.runIf(canMount)("goes on through a full disk, and says afterwards how much was lost", async () => {
    mountSmallDisk(join(scratch, "logs"), 1);
    try {
      const file = fileOf(1 << 20, 3);
      file.write(line(0));
      await file.flush();
      const makeRoom = fillDisk(join(scratch, "logs"));
      for (let index = 1; index < 200; index += 1) file.write(line(index).repeat(10));
      await file.flush();
      makeRoom();
      await until("it writes again", async () => {
        file.write(line(1_000));
        await file.flush();
        return readFileSync(path, "utf8").includes('"index":1000');
      });
      const said = readFileSync(path, "utf8").match(/\{"lost":(\d+)\}/u)?.[1];
      expect(Number(said)).toBeGreaterThan(0);
    } finally { unmountSmallDisk(join(scratch, "logs")); }
  });

  it("bounds what waits", async () => {
    const file = fileOf(64 << 20, 2);
    for (let index = 0; index < 40_000; index += 1) file.write(line(index));
    await file.flush();
    file.write(line(99));
    await file.flush();
    expect(lines(path).some(({ lost }) => lost !== undefined && lost > 20_000)).toBe(true);
  });
});
