/** A bit of a weight file flips on the disk: real worker processes refuse to compute with it, and say which tensor of which file it is. */
import { copyFile, cp, mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { expect, it } from "vitest";
import { openCheckpoint } from "../../../src/model/checkpoint.js";
import { lookAtModels } from "../../../src/daemon/doctor/model-look.js";
import { flipBit } from "../../support/bit-rot.js";
import { WorkerProcess, layerCount, loadRequest, smollm } from "./support.js";

it("is told by file and tensor at the next load, before a token is computed, and by the doctor; a file fetched again is taken", async () => {
  const model = await mkdtemp(join(tmpdir(), "minid-rot-"));
  const workers: WorkerProcess[] = [];
  const start = async (): Promise<WorkerProcess> => { const worker = await WorkerProcess.start(); workers.push(worker); return worker; };
  try {
    await cp(smollm, model, { recursive: true, dereference: true, filter: (file) => !file.includes(".minid-") });
    const layers = await layerCount(model);
    const first = await start();
    await first.client.load(loadRequest(model, layers));
    const checkpoint = await openCheckpoint(model);
    const tensor = checkpoint.layers[17]!.down.weight;
    const weights = tensor.file;
    await checkpoint.close();

    await flipBit(tensor);
    const second = await start();
    const refusal = { code: "model_corrupt", message: expect.stringMatching(new RegExp(`${weights}: the bytes of tensor model\\.layers\\.17\\.mlp\\.down_proj\\.weight are not those`, "u")) as string };
    await expect(second.client.load(loadRequest(model, layers))).rejects.toMatchObject(refusal);
    expect(await second.client.probe()).toMatchObject({ phase: "PHASE_FAILED", errorCode: "model_corrupt" });
    // A stage without that layer is sound.
    await second.client.load(loadRequest(model, 17, { planVersion: 2, rank: 0, worldSize: 2, nextAddress: second.address }));
    const look = (options: { deep: boolean; failed: boolean }) => lookAtModels([model], second.home, options);
    expect((await look({ deep: false, failed: true })).look.problem).toEqual({ code: "model_corrupt", text: refusal.message });
    expect((await look({ deep: true, failed: false })).look.problem).toEqual({ code: "model_corrupt", text: refusal.message });

    // Never over a file that somebody has mapped.
    await copyFile(join(smollm, basename(weights)), `${weights}.new`);
    await rename(`${weights}.new`, weights);
    await second.client.load(loadRequest(model, layers, { planVersion: 3 }));
    expect((await look({ deep: true, failed: true })).look.problem).toBeUndefined();
  } finally {
    for (const worker of workers) await worker.clean();
    await rm(model, { recursive: true, force: true });
  }
}, 240_000);
