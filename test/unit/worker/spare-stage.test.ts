import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { silentLog } from "../../../src/core/log.js";
import type { LoadRequest } from "../../../src/core/worker-protocol.js";
import type { Load } from "../../../src/worker/load-request.js";
import { SpareStage, type SpareStageOptions, noteStage } from "../../../src/worker/spare-stage.js";
import type { StageJob } from "../../../src/worker/stage-loader.js";
import { loadRequest } from "../../integration/worker/support.js";

const gigabyte = 2 ** 30;
const worker = process.pid;

let home = "";
let modelDir = "";
let loads: Load[];
let drops: number;
let failWith: Error | undefined;
/** Milliseconds by which the note is older than it is. */
let later: number;
let available: number;

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "minid-spare-"));
  modelDir = join(home, "model");
  mkdirSync(modelDir);
  writeFileSync(join(modelDir, "config.json"), "{}");
  [loads, drops, failWith, later, available] = [[], 0, undefined, 60_000, 15 * gigabyte];
});
afterEach(() => { rmSync(home, { recursive: true, force: true }); });

const loader: SpareStageOptions["loader"] = {
  start: (load): StageJob => {
    loads.push(load);
    return { load, ready: failWith ? Promise.reject(failWith) : Promise.resolve({ hiddenSize: 1, contextMax: 1, engine: "", replay: "prefill" }), info: undefined };
  },
  drop: () => { drops += 1; return Promise.resolve(); },
};
const standby = (memoryBytesMax?: number): SpareStage => new SpareStage({
  home, loader, memoryBytesMax, log: silentLog, now: () => Date.now() + later, memory: () => ({ totalBytes: 16 * gigabyte, availableBytes: available }),
});
const note = (more: Partial<LoadRequest> = {}, weightBytes = gigabyte): void => { noteStage(home, loadRequest(modelDir, 4, more), weightBytes); };

describe("a standby's spare stage", () => {
  it("is what the worker computes, loaded once", () => {
    const spare = standby();
    spare.look(worker);
    expect(loads).toEqual([]);
    note();
    for (let looks = 0; looks < 3; looks += 1) spare.look(worker);
    expect(loads.map(({ options }) => [options.modelDir, options.layerFirst, options.layerEnd])).toEqual([[modelDir, 0, 4]]);
  });

  it("waits until the recovery is over", () => {
    later = 5_000;
    note();
    const spare = standby();
    spare.look(worker);
    expect(loads).toEqual([]);
    later = 12_000;
    spare.look(worker);
    expect(loads).toHaveLength(1);
  });

  it("is not loaded for a note of a worker that is dead, or for one that nobody can read", () => {
    note();
    standby().look(worker + 1);
    for (const text of ["", "{", "[]", "null", `{"pid":${worker},"weightBytes":1}`, `{"pid":${worker},"weightBytes":1,"load":{"engine":"onnx"}}`, `{"pid":${worker},"weightBytes":1,"load":{"engine":"onnx","numerics":"fast","modelDir":7}}`]) {
      writeFileSync(join(home, "run", "stage.json"), text);
      standby().look(worker);
    }
    expect(loads).toEqual([]);
  });

  it.each([
    { why: "half of the memory would not stay free", bytes: 4 * gigabyte, max: undefined, loaded: 0 },
    { why: "it would", bytes: 3 * gigabyte, max: undefined, loaded: 1 },
    { why: "minid may not use that much", bytes: gigabyte, max: 5 * gigabyte, loaded: 0 },
    { why: "minid may", bytes: gigabyte, max: 6 * gigabyte, loaded: 1 },
  ])("is loaded $loaded times when $why", ({ bytes, max, loaded }) => {
    note({}, bytes);
    standby(max).look(worker);
    expect(loads).toHaveLength(loaded);
  });

  it("is given up when memory grows short, and when the worker computes another stage, but not for another plan of the same", () => {
    note();
    const spare = standby();
    spare.look(worker);
    note({ planVersion: 2 });
    spare.look(worker);
    expect([loads.length, drops]).toEqual([1, 0]);
    available = 3 * gigabyte;
    spare.look(worker);
    expect([loads.length, drops]).toEqual([1, 1]);
    available = 15 * gigabyte;
    spare.look(worker);
    note({ layerFirst: 1 });
    later = 0;
    spare.look(worker);
    expect([loads.length, drops]).toEqual([2, 2]);
    later = 60_000;
    spare.look(worker);
    expect(loads.at(-1)?.options.layerFirst).toBe(1);
  });

  it("that cannot be loaded is let go, and not tried again until the worker has another", async () => {
    failWith = new Error("no");
    note();
    const spare = standby();
    spare.look(worker);
    await new Promise(setImmediate);
    spare.look(worker);
    expect([loads.length, drops]).toEqual([1, 1]);
    note({ layerFirst: 1 });
    spare.look(worker);
    expect(loads).toHaveLength(2);
  });

  it.each([
    ["stays", "nobody touched the model's files", (): void => undefined, 0],
    ["is let go", "one of them was touched", (): void => { utimesSync(join(modelDir, "config.json"), 1, 1); }, 1],
    ["is let go", "they are gone", (): void => { rmSync(modelDir, { recursive: true }); }, 1],
  ])("%s at the take-over when %s", async (_what, _when, touch, dropped) => {
    note();
    const spare = standby();
    spare.look(worker);
    touch();
    await spare.takeOver();
    expect(drops).toBe(dropped);
  });
});
