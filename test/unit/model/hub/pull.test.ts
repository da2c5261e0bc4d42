import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readListing } from "../../../../src/model/hub/listing.js";
import { type PullOptions, pullModel } from "../../../../src/model/hub/pull.js";
import { listModels } from "../../../../src/model/store.js";
import { canMount, mountSmallDisk, unmountSmallDisk } from "../../../support/disks.js";
import { Hub } from "../../../support/hub.js";

const modelId = "tiny/llama";
const weights = "model.safetensors";
let scratch: string;
let source: string;
let home: string;
let hub: Hub;
let hubUrl: string;
beforeEach(async () => {
  scratch = mkdtempSync(join(tmpdir(), "minid-pull-"));
  [source, home] = [join(scratch, "source"), join(scratch, "home")];
  mkdirSync(source);
  for (const name of ["config.json", weights]) copyFileSync(join("test/fixtures/tiny/llama-4bit-g32", name), join(source, name));
  writeFileSync(join(source, "pytorch_model.bin"), "not needed");
  hub = await Hub.start(modelId, source);
  hubUrl = hub.url;
});
afterEach(async () => { await hub.stop(); rmSync(scratch, { recursive: true, force: true }); });

const pull = (change: Partial<PullOptions> = {}) => pullModel({ home, modelId, revision: "main", hubUrl, token: undefined, signal: AbortSignal.timeout(60_000), onProgress: () => undefined, retryDelayMs: 10, ...change });
const target = () => join(home, "models", modelId);
const same = () => ["config.json", weights].every((name) => readFileSync(join(target(), name)).equals(readFileSync(join(source, name))));
const fetched = (file: string) => hub.requests.filter(({ path }) => path.endsWith(`/${file}`));

describe("pulling a model", () => {
  it("fetches what is needed, whole, and finds it again without fetching", async () => {
    const shown: number[] = [];
    const first = await pull({ onProgress: ({ bytes }) => shown.push(bytes) });
    expect(first).toMatchObject({ id: modelId, directory: target(), fetched: true, files: 2 });
    expect(same()).toBe(true);
    expect(shown.at(-1)).toBe(first.bytes);
    expect(existsSync(join(target(), "pytorch_model.bin"))).toBe(false);
    expect((await listModels(home, { HF_HOME: scratch })).map(({ id }) => id)).toContain(modelId);
    const before = hub.requests.length;
    expect((await pull()).fetched).toBe(false);
    expect(hub.requests.length).toBe(before + 1);
    expect(readdirSync(join(home, "models", ".pull"))).toEqual([]);
  });

  it("goes on where the connection broke off, as often as it gets further", async () => {
    const cuts = [1_000, 2_000, 3_000, 100, 100, 100, 100].map((afterBytes) => ({ kind: "cut" as const, afterBytes }));
    hub.order(weights, ...cuts);
    await pull();
    expect(same()).toBe(true);
    const ranges = hub.requests.filter(({ path }) => path === `/${weights}`).map(({ range }) => range);
    expect(ranges.slice(0, 4)).toEqual([undefined, "bytes=1000-", "bytes=3000-", "bytes=6000-"]);
  });

  it("goes on in another process where one was stopped", async () => {
    hub.order(weights, { kind: "cut", afterBytes: 5_000 }, { kind: "stall" });
    const stop = new AbortController();
    const first = pull({ signal: stop.signal, onProgress: ({ file, bytes }) => { if (file === weights && bytes > 5_000) setTimeout(() => { stop.abort(new Error("stopped")); }, 100); } });
    await expect(first).rejects.toThrow("stopped");
    expect(existsSync(target())).toBe(false);
    await pull();
    expect(same()).toBe(true);
    expect(hub.requests.at(-1)?.range).toBe("bytes=5000-");
  });

  it("begins anew where the hub does not know ranges", async () => {
    hub.order(weights, { kind: "cut", afterBytes: 5_000 }, { kind: "ignoreRange" });
    await pull();
    expect(same()).toBe(true);
  });

  it("gives up a connection that stands still, and tries another", async () => {
    hub.order(weights, { kind: "stall" });
    await pull({ stallMs: 300 });
    expect(same()).toBe(true);
  });

  it("throws wrong bytes away and puts nothing in place", async () => {
    hub.order(weights, { kind: "corrupt" });
    await expect(pull()).rejects.toMatchObject({ code: "model_corrupt", message: expect.stringContaining(weights) });
    expect(existsSync(target())).toBe(false);
    await pull();
    expect(same()).toBe(true);
    expect(hub.requests.at(-1)?.range).toBeUndefined();
  });

  it("tries again after the hub's own errors, and says so when they do not end", async () => {
    hub.order("config.json", { kind: "status", status: 503 }, { kind: "status", status: 429 });
    await pull();
    expect(same()).toBe(true);
    rmSync(target(), { recursive: true });
    hub.order("config.json", ...Array.from({ length: 9 }, () => ({ kind: "status" as const, status: 503 })));
    await expect(pull()).rejects.toMatchObject({ code: "download_failed", message: expect.stringContaining("503") });
  });

  it("does not try again what is refused", async () => {
    await expect(pull({ modelId: "tiny/absent" })).rejects.toMatchObject({ code: "download_refused" });
    hub.order("config.json", { kind: "status", status: 403 });
    await expect(pull()).rejects.toMatchObject({ code: "download_refused", message: expect.stringContaining("HF_TOKEN") });
    expect(fetched("config.json")).toHaveLength(1);
  });

  it("gives its token to the hub, and to nobody it is sent on to", async () => {
    hub.requireToken("hf_abc");
    await expect(pull()).rejects.toMatchObject({ code: "download_refused" });
    hub.requests.length = 0;
    await pull({ token: "hf_abc" });
    const elsewhere = hub.requests.filter(({ host }) => host.startsWith("localhost"));
    expect(elsewhere.length).toBeGreaterThan(0);
    expect(elsewhere.every(({ authorization }) => authorization === undefined)).toBe(true);
    expect(hub.requests.filter(({ host }) => !host.startsWith("localhost")).every(({ authorization }) => authorization === "Bearer hf_abc")).toBe(true);
  });

  it("replaces an older version in one move", async () => {
    mkdirSync(target(), { recursive: true });
    writeFileSync(join(target(), "config.json"), "{}");
    writeFileSync(join(target(), "old.safetensors"), "old");
    await pull();
    expect(same()).toBe(true);
    expect(existsSync(join(target(), "old.safetensors"))).toBe(false);
  });

  it("lets one process at a time pull a model", async () => {
    hub.order(weights, { kind: "stall" });
    const stop = new AbortController();
    let begun: () => void = () => undefined;
    const started = new Promise<void>((resolve) => { begun = resolve; });
    const first = pull({ signal: stop.signal, onProgress: () => { begun(); } });
    await started;
    await expect(pull()).rejects.toMatchObject({ code: "home_unusable", message: expect.stringContaining("another process") });
    stop.abort(new Error("stopped"));
    await expect(first).rejects.toThrow("stopped");
  });

  it("names a hub that cannot be reached", async () => {
    await hub.stop();
    await expect(pull()).rejects.toMatchObject({ code: "download_failed", message: expect.stringContaining("hub_url") });
    hub = await Hub.start(modelId, source);
  });

  it.each(["name", "../up/name", "a/b/c", "a/..b"])("refuses %s for an id", async (id) => {
    await expect(pull({ modelId: id })).rejects.toMatchObject({ code: "usage" });
  });

  it.runIf(canMount)("says before it begins when the disk is too small", async () => {
    mountSmallDisk(home, 16);
    try {
      await expect(pull()).rejects.toMatchObject({ code: "home_unusable", message: expect.stringContaining("free") });
      expect(fetched("config.json")).toEqual([]);
    } finally { unmountSmallDisk(home); }
  });

  it("writes nothing that others can read", async () => {
    await pull();
    expect(statSync(join(target(), weights)).mode & 0o077).toBe(0);
  });
});

describe("a hub's list", () => {
  const file = (rfilename: string) => ({ rfilename, size: 1, blobId: "a".repeat(40) });
  const listing = (...names: string[]) => readListing("o/n", { sha: "b".repeat(40), siblings: names.map(file) });

  it("takes only plain names of the top folder", () => {
    expect(listing("config.json", "m.safetensors", "../x.safetensors", "a/b.safetensors", ".hidden.safetensors", "/etc/passwd.safetensors", "tokenizer.json", "onnx/model.onnx", "model.gguf").files.map(({ name }) => name)).toEqual(["config.json", "m.safetensors", "tokenizer.json"]);
  });

  it.each([[["model.gguf"]], [["config.json", "pytorch_model.bin"]]])("says what is missing in %j", (names) => {
    expect(() => listing(...names)).toThrow(expect.objectContaining({ code: "model_unsupported" }) as Error);
  });

  it("refuses what is no list, and files without a checksum", () => {
    expect(() => readListing("o/n", "<html>")).toThrow(/hub_url/u);
    expect(() => readListing("o/n", { sha: "b".repeat(40), siblings: [{ rfilename: "config.json" }] })).toThrow(/checksum/u);
  });
});
