import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { epochZero, nodeId } from "../../../src/core/ids.js";
import { silentLog } from "../../../src/core/log.js";
import { EpochStore } from "../../../src/worker/epoch-store.js";

describe("epoch store", () => {
  let home: string;
  beforeEach(async () => { home = await mkdtemp(join(tmpdir(), "minid-epoch-")); });
  afterEach(() => rm(home, { recursive: true, force: true }));

  it("remembers the highest accepted epoch across restarts", async () => {
    const store = await EpochStore.open(home, silentLog);
    expect(store.highest).toEqual(epochZero);
    await store.accept({ counter: 3, nodeId: nodeId("ab") });
    expect((await EpochStore.open(home, silentLog)).highest).toEqual({ counter: 3, nodeId: "ab" });
  });

  it("accepts nothing that could not be written", async () => {
    const store = await EpochStore.open(home, silentLog);
    await rm(home, { recursive: true });
    await writeFile(home, "a file where the home was");
    await expect(store.accept({ counter: 3, nodeId: nodeId("ab") })).rejects.toMatchObject({ code: "home_unusable" });
    expect(store.highest).toEqual(epochZero);
  });

  it("moves a damaged file aside, says so, and starts from nothing", async () => {
    await (await EpochStore.open(home, silentLog)).accept({ counter: 3, nodeId: nodeId("ab") });
    const file = join(home, "worker-epoch.json");
    await writeFile(file, (await readFile(file, "utf8")).replace('"counter":3', '"counter":4'));
    const problems: string[] = [];
    const store = await EpochStore.open(home, { ...silentLog, error: (_fields, message) => { problems.push(message); } });
    expect(store.highest).toEqual(epochZero);
    expect(problems.join()).toContain("worker-epoch.json is damaged");
    await store.accept({ counter: 5, nodeId: nodeId("ab") });
    expect((await EpochStore.open(home, silentLog)).highest.counter).toBe(5);
  });
});
