import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readEmbeddingRule } from "../../../src/model/pooling.js";

let directory: string;
beforeEach(async () => { directory = await mkdtemp(join(tmpdir(), "minid-pooling-")); });
afterEach(() => rm(directory, { recursive: true, force: true }));

async function put(file: string, content: unknown): Promise<void> {
  await mkdir(dirname(join(directory, file)), { recursive: true });
  await writeFile(join(directory, file), JSON.stringify(content));
}
const module = (type: string, path = "") => ({ idx: 0, name: "0", path, type: `sentence_transformers.models.${type}` });
const rule = () => readEmbeddingRule(directory);

describe("how a model is pooled", () => {
  it("is the mean where nothing is declared", async () => { expect(await rule()).toEqual({ kind: "pooled", pooling: "mean", declared: false }); });

  it("is what 1_Pooling/config.json says", async () => {
    await put("1_Pooling/config.json", { word_embedding_dimension: 1024, pooling_mode_cls_token: false, pooling_mode_mean_tokens: false, pooling_mode_lasttoken: true });
    expect(await rule()).toEqual({ kind: "pooled", pooling: "last", declared: true });
    await put("1_Pooling/config.json", { pooling_mode_mean_tokens: true });
    expect(await rule()).toEqual({ kind: "pooled", pooling: "mean", declared: true });
  });

  it("is read where modules.json says it is", async () => {
    await put("modules.json", [module("Transformer"), module("Pooling", "pool"), module("Normalize", "2_Normalize")]);
    await put("pool/config.json", { pooling_mode_lasttoken: true });
    expect(await rule()).toMatchObject({ pooling: "last" });
  });

  it.each([
    ["another pooling", {}, { pooling_mode_cls_token: true }, /pooling_mode_cls_token/u],
    ["two poolings", {}, { pooling_mode_mean_tokens: true, pooling_mode_max_tokens: true }, /several/u],
    ["another module", [module("Transformer"), module("Dense", "2_Dense")], { pooling_mode_mean_tokens: true }, /Dense/u],
    ["a path that leaves the directory", [module("Pooling", "../elsewhere")], {}, /outside/u],
  ])("is refused with the reason: %s", async (_name, modules, pooling, why) => {
    if (Array.isArray(modules)) await put("modules.json", modules);
    await put("1_Pooling/config.json", pooling);
    expect(await rule()).toEqual({ kind: "unsupported", why: expect.stringMatching(why) as string });
  });

  it("refuses a damaged declaration", async () => {
    await put("1_Pooling/config.json", { pooling_mode_mean_tokens: "yes" });
    await expect(rule()).rejects.toMatchObject({ code: "model_corrupt" });
  });
});
