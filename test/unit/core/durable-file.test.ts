import { mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { MinidError } from "../../../src/core/errors.js";
import { readDurable, writeDurable } from "../../../src/core/durable-file.js";

const schema = z.object({ counter: z.number().int(), nodeId: z.string() });
const value = { counter: 7, nodeId: "ab".repeat(16) };

describe("a durable file", () => {
  let directory: string;
  let file: string;
  beforeEach(async () => { directory = await mkdtemp(join(tmpdir(), "minid-durable-")); file = join(directory, "state", "epoch.json"); });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  it("is undefined before the first write and gives back what was written last", async () => {
    expect(await readDurable(file, schema)).toBeUndefined();
    await writeDurable(file, { ...value, counter: 6 });
    await writeDurable(file, value);
    expect(await readDurable(file, schema)).toEqual(value);
  });

  it("is readable by its owner only, in a directory of its owner only, and leaves no temporary file", async () => {
    await writeDurable(file, value);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await stat(join(directory, "state"))).mode & 0o777).toBe(0o700);
    expect(await readdir(join(directory, "state"))).toEqual(["epoch.json"]);
  });

  it.each([
    ["cut short", (text: string) => text.slice(0, -9)],
    ["changed in one digit", (text: string) => text.replace('"counter":7', '"counter":8')],
    ["emptied", () => ""],
    ["replaced by other JSON", () => "[1]"],
  ])("says which file is damaged and what to do when it was %s", async (_how, damage) => {
    await writeDurable(file, value);
    await writeFile(file, damage(await readFile(file, "utf8")));
    const failure = await readDurable(file, schema).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(MinidError);
    expect(failure).toMatchObject({ code: "home_unusable", message: expect.stringContaining(file) as string });
    expect((failure as MinidError).message).toContain("restore it");
  });

  it("refuses a value that the schema does not know, naming the field", async () => {
    await writeDurable(file, { counter: "seven", nodeId: "x" });
    await expect(readDurable(file, schema)).rejects.toThrow(/counter/);
  });

  it("keeps the old value and leaves nothing behind when a write fails", async () => {
    await writeDurable(file, value);
    const inTheWay = join(file, "below-a-file.json");
    await expect(writeDurable(inTheWay, value)).rejects.toMatchObject({ code: "home_unusable" });
    expect(await readDurable(file, schema)).toEqual(value);
  });
});
