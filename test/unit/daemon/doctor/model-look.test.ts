/** Whose files the doctor reads: those that the node loads. */
import { closeSync, cpSync, mkdtempSync, openSync, readSync, readdirSync, rmSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { lookAtModels } from "../../../../src/daemon/doctor/model-look.js";

const id = "SmolLM2-135M-Instruct-8bit";
let scratch = "";
beforeEach(() => { scratch = mkdtempSync(join(tmpdir(), "minid-look-")); });
afterEach(() => { rmSync(scratch, { recursive: true, force: true }); });

describe("a deep look at a model", () => {
  it("reads the configured directory, and not another model of the id that the plan has for it", async () => {
    const own = join(scratch, id);
    cpSync(join(process.cwd(), "models", id), own, { recursive: true, dereference: true });
    const before = await lookAtModels([own, id], scratch, { deep: true, failed: false });
    expect(before.look).toEqual({ id, problem: undefined });
    const shard = readdirSync(own).find((name) => name.endsWith(".safetensors"))!;
    const file = openSync(join(own, shard), "r+");
    const at = statSync(join(own, shard)).size - 4_096;
    const byte = Buffer.alloc(1);
    readSync(file, byte, 0, 1, at);
    writeSync(file, Buffer.from([byte[0]! ^ 0x40]), 0, 1, at);
    closeSync(file);
    const after = await lookAtModels([own, id], scratch, { deep: true, failed: false });
    expect(Object.keys(after.digests)).toEqual(Object.keys(before.digests));
    expect(after.digests[shard]).not.toBe(before.digests[shard]);
  });
});
