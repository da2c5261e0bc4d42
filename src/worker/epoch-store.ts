/**
 * The highest epoch this machine's worker has accepted, kept across restarts in `<home>/worker-epoch.json`, so that a leader
 * superseded before a crash stays superseded after it. It is on disk before anything is done in its name.
 *
 * A damaged file is moved aside and the worker starts from nothing accepted: refusing to start would take the machine out for
 * good, while the fence closes again with the next Load.
 */
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { readDurable, writeDurable } from "../core/durable-file.js";
import { toMinidError } from "../core/errors.js";
import { type Epoch, compareEpochs, epochZero, nodeId } from "../core/ids.js";
import { invariant } from "../core/invariant.js";
import type { Log } from "../core/log.js";

const schema = z.object({ counter: z.int().min(0), nodeId: z.string().max(64) });

export class EpochStore {
  readonly #file: string;
  #highest: Epoch;

  private constructor(file: string, highest: Epoch) {
    this.#file = file;
    this.#highest = highest;
  }

  /** @throws MinidError home_unusable when the home cannot be read at all. */
  static async open(home: string, log: Log): Promise<EpochStore> {
    const file = join(home, "worker-epoch.json");
    try {
      const stored = await readDurable(file, schema);
      return new EpochStore(file, stored ? { counter: stored.counter, nodeId: nodeId(stored.nodeId) } : epochZero);
    } catch (error) {
      await rename(file, `${file}.damaged`).catch(() => { throw error; });
      log.error({ file, kept: `${file}.damaged` }, `${toMinidError(error).message} It was moved aside; this worker accepts any epoch once.`);
      return new EpochStore(file, epochZero);
    }
  }

  get highest(): Epoch { return this.#highest; }

  /** Resolves when the epoch is on disk. Calls must not overlap. @param epoch not lower than `highest`. @throws MinidError home_unusable; then nothing was accepted. */
  async accept(epoch: Epoch): Promise<void> {
    const order = compareEpochs(epoch, this.#highest);
    invariant(order >= 0, "a lower epoch must not be accepted");
    if (order === 0) return;
    await writeDurable(this.#file, { counter: epoch.counter, nodeId: epoch.nodeId });
    this.#highest = epoch;
  }
}
