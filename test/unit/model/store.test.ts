import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { defaultModelId, huggingFaceCache, isModelId, listModels, resolveModel } from "../../../src/model/store.js";

let scratch: string;
let home: string;
let environment: Record<string, string>;

beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), "minid-store-"));
  home = join(scratch, "home");
  environment = { HF_HUB_CACHE: join(scratch, "hub") };
});
afterEach(() => rm(scratch, { recursive: true, force: true }));

async function putModel(directory: string): Promise<string> {
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, "config.json"), "{}");
  await writeFile(join(directory, "model.safetensors"), "");
  return directory;
}

async function putCached(id: string, revision: string, ref = revision): Promise<string> {
  const folder = join(scratch, "hub", `models--${id.replaceAll("/", "--")}`);
  await mkdir(join(folder, "refs"), { recursive: true });
  await writeFile(join(folder, "refs", "main"), `${ref}\n`);
  return putModel(join(folder, "snapshots", revision));
}

describe("resolveModel", () => {
  it("finds the embedded default by its id", async () => {
    const { id, directory } = await resolveModel(defaultModelId, home, environment);
    expect(id).toBe(defaultModelId);
    expect(basename(directory)).toBe(defaultModelId);
  });

  it("prefers the home over the Hugging Face cache", async () => {
    const cached = await putCached("org/name", "abc123");
    expect(await resolveModel("org/name", home, environment)).toEqual({ id: "org/name", directory: cached });
    const own = await putModel(join(home, "models", "org", "name"));
    expect(await resolveModel("org/name", home, environment)).toEqual({ id: "org/name", directory: own });
  });

  it("takes the revision that main names, and the only one where main names none", async () => {
    await putCached("org/name", "old", "new");
    const current = await putCached("org/name", "new");
    expect((await resolveModel("org/name", home, environment)).directory).toBe(current);
    const only = await putModel(join(scratch, "hub", "models--org--other", "snapshots", "r1"));
    expect((await resolveModel("org/other", home, environment)).directory).toBe(only);
  });

  it("takes a path, and knows the id of a model inside the home", async () => {
    const elsewhere = await putModel(join(scratch, "elsewhere", "my model"));
    expect(await resolveModel(elsewhere, home, environment)).toEqual({ id: "my model", directory: elsewhere });
    const own = await putModel(join(home, "models", "org", "name"));
    expect(await resolveModel(own, home, environment)).toEqual({ id: "org/name", directory: own });
  });

  it("says every place where it looked", async () => {
    const error: unknown = await resolveModel("org/absent", home, environment).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "model_not_found" });
    const { message } = error as Error;
    expect(message).toContain(join(home, "models", "org/absent"));
    expect(message).toContain("models--org--absent");
  });

  it.each(["../outside", "org/../../outside", "..", "org/..", "a/b/c", "", "org/", "/org", ".hidden", "org\\name", "na\0me"])("never takes %j as an id out of its folder", async name => {
    await putModel(join(dirname(home), "outside"));
    await putModel(join(home, "outside"));
    expect(isModelId(name)).toBe(false);
    await expect(resolveModel(name, join(home, "models"), environment)).rejects.toMatchObject({ code: "model_not_found" });
  });

  it("does not follow a reference that leads out of the snapshots", async () => {
    await putModel(join(scratch, "hub", "outside"));
    const folder = join(scratch, "hub", "models--org--name");
    await mkdir(join(folder, "refs"), { recursive: true });
    await writeFile(join(folder, "refs", "main"), "../../outside");
    await expect(resolveModel("org/name", home, environment)).rejects.toMatchObject({ code: "model_not_found" });
  });
});

describe("listModels", () => {
  it("lists each id once, the home first, and only what has weights", async () => {
    const own = await putModel(join(home, "models", "org", "name"));
    const single = await putModel(join(home, "models", "single"));
    await putCached("org/name", "abc");
    const cached = await putCached("org/cached", "abc");
    await mkdir(join(home, "models", "org", "empty"), { recursive: true });
    await symlink(join(scratch, "nowhere"), join(home, "models", "dangling"));
    const listed = await listModels(home, environment);
    expect(listed).toEqual([
      { id: "org/name", directory: own, source: "home" },
      { id: "single", directory: single, source: "home" },
      { id: "org/cached", directory: cached, source: "huggingface" },
      expect.objectContaining({ id: defaultModelId, source: "embedded" }),
    ]);
  });

  it("lists the embedded model where there is nothing else", async () => {
    expect((await listModels(join(scratch, "absent"), environment)).map(model => model.id)).toEqual([defaultModelId]);
  });
});

describe("huggingFaceCache", () => {
  it("follows the library's own variables, the most specific first", () => {
    expect(huggingFaceCache({ HF_HUB_CACHE: "/a", HF_HOME: "/b" })).toBe("/a");
    expect(huggingFaceCache({ HF_HOME: "/b", XDG_CACHE_HOME: "/c" })).toBe("/b/hub");
    expect(huggingFaceCache({ HF_HUB_CACHE: "", XDG_CACHE_HOME: "/c" })).toBe("/c/huggingface/hub");
    expect(huggingFaceCache({})).toMatch(/\.cache\/huggingface\/hub$/);
  });
});
