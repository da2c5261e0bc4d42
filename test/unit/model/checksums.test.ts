import { mkdirSync } from "node:fs";
import { cp, mkdtemp, readFile, readdir, rm, truncate, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openCheckpoint } from "../../../src/model/checkpoint.js";
import { CheckedLately } from "../../../src/model/checked-lately.js";
import { WeightChecksums, checksumsName } from "../../../src/model/checksums.js";
import { readSafetensorsHeader } from "../../../src/model/safetensors.js";
import { allTensors, stageTensors } from "../../../src/model/stage-tensors.js";
import type { Checkpoint, TensorRef } from "../../../src/model/weights.js";
import { flipBit } from "../../support/bit-rot.js";

const fixture = join(import.meta.dirname, "../../fixtures/tiny/llama-8bit-rope3");
let scratch: string;
let model: string;
let home: string;
let checkpoint: Checkpoint;
let tensors: readonly TensorRef[];

beforeAll(async () => { scratch = await mkdtemp(join(tmpdir(), "minid-checksums-")); });
afterAll(() => rm(scratch, { recursive: true, force: true }));
beforeEach(async () => {
  model = await mkdtemp(join(scratch, "model-"));
  home = await mkdtemp(join(scratch, "home-"));
  for (const name of ["config.json", "model.safetensors"]) await cp(join(fixture, name), join(model, name));
  checkpoint = await openCheckpoint(model);
  tensors = allTensors(checkpoint);
  return () => checkpoint.close();
});

/** One load, as a process of its own would do it. */
async function load(wanted = tensors): Promise<void> {
  const checksums = await WeightChecksums.open(checkpoint.directory, home);
  await checksums.check(wanted);
  await checksums.keep();
}
const refused = (tensor: TensorRef) => expect(load()).rejects.toMatchObject({ code: "model_corrupt", message: expect.stringMatching(new RegExp(`${model}/model\\.safetensors.*${tensor.name.replaceAll(".", "\\.")} `, "u")) as string });

describe("the checksums of a model's weights", () => {
  it("are learnt at the first load and tell one flipped bit of any tensor by file and tensor", async () => {
    await load();
    expect(await readdir(model)).toContain(checksumsName);
    await load();
    for (const tensor of tensors) {
      await flipBit(tensor);
      await refused(tensor);
      await flipBit(tensor);
    }
    await load();
  });

  it.each(["llama-4bit-g32", "llama-8bit-rope3", "qwen2-8bit-bias", "qwen3-4bit-tied", "qwen3-8bit", "qwen3-bf16-tied"])("cover every tensor of %s once, embedding and head included", async (name) => {
    const directory = join(fixture, "..", name);
    const opened = await openCheckpoint(directory);
    const names = allTensors(opened).map((tensor) => tensor.name);
    await opened.close();
    expect(names.toSorted()).toEqual([...(await readSafetensorsHeader(join(directory, "model.safetensors"))).keys()].toSorted());
  });

  it("grow with the stages that are read, and a stage is not troubled by what it does not read", async () => {
    const [front, back] = [stageTensors(checkpoint, { first: 0, end: 1 }, true), stageTensors(checkpoint, { first: 1, end: checkpoint.layers.length }, false)];
    await load(front);
    await load(back);
    await flipBit(back[0]!);
    await load(front);
    await refused(back[0]!);
  });

  it("begin anew with a file that was written anew", async () => {
    await load();
    await flipBit(tensors[0]!);
    await refused(tensors[0]!);
    const later = new Date(Date.now() + 5_000);
    await utimes(tensors[0]!.file, later, later);
    await load();
    await flipBit(tensors[1]!);
    await refused(tensors[1]!);
  });

  it("are made again when their own file is damaged, and never stand in the way", async () => {
    await load();
    const file = join(model, checksumsName);
    const sound = await readFile(file);
    for (const damage of [sound.subarray(0, sound.length / 2), Buffer.alloc(sound.length), Buffer.from("{]"), Buffer.from(sound.toString().replace('"tensors":{', '"tensors":{"x":1,'))]) {
      await writeFile(file, damage);
      await load();
      expect((await readFile(file)).equals(sound)).toBe(true);
    }
  });

  it("go to the home where the model's directory takes no file, and nowhere where neither does", async () => {
    // For root no mode forbids writing; a directory in the file's place does.
    mkdirSync(join(model, checksumsName));
    await load();
    expect(await readdir(join(home, "checksums"))).toHaveLength(1);
    await flipBit(tensors[3]!);
    await refused(tensors[3]!);
    await rm(join(home, "checksums"), { recursive: true });
    await writeFile(join(home, "checksums"), "in the way");
    await load();
  });

  it("say that a file became shorter", async () => {
    await truncate(join(model, "model.safetensors"), 200_000);
    await expect(load()).rejects.toMatchObject({ code: "model_corrupt", message: expect.stringContaining("became shorter") as string });
  });

  it("end when the one who waits for them says so", async () => {
    await expect((await WeightChecksums.open(model, home)).check(tensors, () => { throw new Error("enough"); })).rejects.toThrow("enough");
  });
});

describe("what was checked lately", () => {
  const now = 1_800_000_000_000;

  it("need not be checked again for an hour, by any process of the home", async () => {
    const [front, back] = [stageTensors(checkpoint, { first: 0, end: 2 }, true), stageTensors(checkpoint, { first: 2, end: checkpoint.layers.length }, false)];
    expect(new CheckedLately(home, () => now).covers(front)).toBe(false);
    new CheckedLately(home, () => now).note(front);
    expect(new CheckedLately(home, () => now + 1_000).covers(front)).toBe(true);
    expect(new CheckedLately(home, () => now + 1_000).covers(front.slice(0, 3))).toBe(true);
    // Not what was not read, not for ever, not with a clock that went back.
    expect(new CheckedLately(home, () => now + 1_000).covers([...front, ...back])).toBe(false);
    expect(new CheckedLately(home, () => now + 3_600_001).covers(front)).toBe(false);
    expect(new CheckedLately(home, () => now - 1).covers(front)).toBe(false);
    expect(new CheckedLately(join(home, "another"), () => now).covers(front)).toBe(false);
  });

  it("is forgotten when the file is written, even with its times put back, and when the note is damaged", async () => {
    const lately = new CheckedLately(home, () => now);
    lately.note(tensors);
    expect(lately.covers(tensors)).toBe(true);
    await flipBit(tensors[0]!);
    expect(lately.covers(tensors)).toBe(false);
    lately.note(tensors);
    expect(lately.covers(tensors)).toBe(true);
    await writeFile(join(home, "run", "weights-checked.json"), "{]");
    expect(lately.covers(tensors)).toBe(false);
  });

  it("does not stand in the way where it cannot be noted", async () => {
    await writeFile(join(home, "run"), "in the way");
    const lately = new CheckedLately(home);
    lately.note(tensors);
    expect(lately.covers(tensors)).toBe(false);
  });
});
