/**
 * At most one stage, and who waits for it. Equal loads share one; a different one takes the place of whatever is there.
 * Reports progress while the engine thread works; knows nothing of epochs or rings.
 */
import { type MinidError, toMinidError } from "../core/errors.js";
import type { EngineHost } from "./engine-host.js";
import type { Load } from "./load-request.js";
import type { StageInfo } from "./thread-protocol.js";

const progressIntervalMs = 100;

export interface StageJob {
  readonly load: Load;
  readonly ready: Promise<StageInfo>;
  info: StageInfo | undefined;
}

export class StageLoader {
  readonly #host: EngineHost;
  readonly #onChange: () => void;
  #job: StageJob | undefined;
  #failure: MinidError | undefined;

  /** @param onChange called when a load begins, succeeds or fails. */
  constructor(host: EngineHost, onChange: () => void) {
    this.#host = host;
    this.#onChange = onChange;
  }

  /** The stage that is loaded or loading. */
  get job(): StageJob | undefined { return this.#job; }
  /** Why the last load failed, until the next one begins. */
  get failure(): MinidError | undefined { return this.#failure; }

  /** The job of an equal stage, or a new one. */
  start(load: Load): StageJob {
    if (this.#job?.load.stageKey === load.stageKey) return this.#job;
    const job: StageJob = { load, ready: this.#host.load(load.options), info: undefined };
    this.#job = job;
    this.#failure = undefined;
    job.ready.then((info) => { job.info = info; }, (error: unknown) => {
      if (this.#job !== job) return;
      this.#job = undefined;
      this.#failure = toMinidError(error);
    }).finally(this.#onChange).catch(() => undefined);
    this.#onChange();
    return job;
  }

  /** Then there is none, and none has failed. Resolves when its memory is free. */
  async drop(): Promise<void> {
    this.#job = undefined;
    this.#failure = undefined;
    await this.#host.unload();
    this.#onChange();
  }

  /** Waits for a job. @param onProgress bytes so far and altogether, when they have changed. */
  async wait(job: StageJob, onProgress: (bytesLoaded: number, bytesTotal: number) => void): Promise<StageInfo> {
    let told = -1;
    const tell = (): void => {
      const loaded = this.#host.board.get("bytesLoaded");
      if (loaded === told) return;
      told = loaded;
      onProgress(loaded, this.#host.board.get("bytesTotal"));
    };
    const timer = setInterval(tell, progressIntervalMs);
    try { return await job.ready; } finally { clearInterval(timer); }
  }
}
