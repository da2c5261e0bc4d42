/**
 * What a standby has at hand beside its libraries: the stage that the worker of its home computes, loaded a second time where memory is
 * plentiful, so that a killed worker costs no load either. The worker notes its stage in `<home>/run/stage.json`; the standby looks there.
 *
 * Invariants: a spare is in nobody's way: it is loaded once its stage has stood for a while, never during a recovery, only where half of the
 * machine's memory stays free beside it, and it is given up when memory grows short. Whoever takes over with one has an engine with a stage,
 * no place in a ring, and empty slots, like a worker that a plan gives a stage that it holds. Files that were touched since are read again.
 */
import { randomUUID } from "node:crypto";
import { readFileSync, readdirSync, statSync } from "node:fs";
import { totalmem } from "node:os";
import { join } from "node:path";
import { toMinidError } from "../core/errors.js";
import type { Log } from "../core/log.js";
import { replaceFile } from "../core/replace-file.js";
import type { LoadRequest } from "../core/worker-protocol.js";
import { fileState } from "../model/file-state.js";
import { type Load, parseLoadRequest } from "./load-request.js";
import type { StageLoader } from "./stage-loader.js";

/** The recovery after which the stage was noted has ended. */
const standsMs = 10_000;
/** Weights, and what the engine keeps beside them. */
const memoryFactor = 2;

interface Note { readonly pid: number; readonly load: LoadRequest; readonly weightBytes: number }

export interface Memory { readonly totalBytes: number; readonly availableBytes: number }

export interface SpareStageOptions {
  readonly home: string;
  readonly loader: Pick<StageLoader, "start" | "drop">;
  /** What minid may use for weights and cache on this machine, if that was limited. */
  readonly memoryBytesMax: number | undefined;
  readonly log: Log;
  readonly memory?: () => Memory;
  /** Wall clock, milliseconds: the note's age is that of its file. */
  readonly now?: () => number;
}

export class SpareStage {
  readonly #options: SpareStageOptions;
  readonly #memory: () => Memory;
  readonly #now: () => number;
  #spare: { readonly load: Load; readonly files: string } | undefined;
  /** Not tried again until the worker has another. */
  #failedKey = "";

  constructor(options: SpareStageOptions) {
    this.#options = options;
    this.#memory = options.memory ?? machineMemory;
    this.#now = options.now ?? Date.now;
  }

  /** Called about once a second while `worker` serves. */
  look(worker: number): void {
    const note = readNote(this.#options.home);
    const wanted = note?.pid === worker ? note : undefined;
    if (this.#spare && (this.#spare.load.stageKey !== wanted?.load.stageKey || this.#short())) this.#giveUp();
    if (this.#spare || !wanted || wanted.load.stageKey === this.#failedKey) return;
    if (this.#now() - wanted.writtenMs >= standsMs && this.#fits(wanted.weightBytes)) this.#load(wanted.load);
  }

  /** This process is the worker now: keeps the spare for the Load that will come, unless its files are not what they were. */
  async takeOver(): Promise<void> {
    const spare = this.#spare;
    this.#spare = undefined;
    if (spare && filesOf(spare.load) !== spare.files) await this.#options.loader.drop();
  }

  #load(load: Load): void {
    const { loader, log } = this.#options;
    const spare = { load, files: filesOf(load) };
    this.#spare = spare;
    loader.start(load).ready.then(
      () => { log.info({ layers: [load.options.layerFirst, load.options.layerEnd] }, "the worker's stage is at hand here too"); },
      (thrown: unknown) => {
        if (this.#spare !== spare) return;
        const error = toMinidError(thrown);
        log.warn({ code: error.code }, `no spare stage: ${error.message}`);
        this.#failedKey = load.stageKey;
        this.#giveUp();
      },
    );
  }

  #giveUp(): void {
    this.#spare = undefined;
    this.#options.loader.drop().catch((error: unknown) => { this.#options.log.warn({}, `a spare stage could not be given up: ${toMinidError(error).message}`); });
  }

  #fits(weightBytes: number): boolean {
    const { memoryBytesMax } = this.#options;
    const { totalBytes, availableBytes } = this.#memory();
    const bytes = memoryFactor * weightBytes;
    return availableBytes - bytes >= totalBytes / 2 && (memoryBytesMax === undefined || weightBytes + bytes <= memoryBytesMax / 2);
  }

  #short(): boolean {
    const { totalBytes, availableBytes } = this.#memory();
    return availableBytes < totalBytes / 4;
  }
}

/** What the worker with this pid computes, for its standby. Without a note there is no spare, and nothing else is amiss. */
export function noteStage(home: string, load: LoadRequest, weightBytes: number): void {
  const note: Note = { pid: process.pid, load, weightBytes };
  try { replaceFile(noteFile(home), JSON.stringify(note)); } catch { /* A full disk keeps nobody from computing. */ }
}

const noteFile = (home: string): string => join(home, "run", "stage.json");

/** @returns undefined when there is none that can be understood. */
function readNote(home: string): { readonly pid: number; readonly load: Load; readonly weightBytes: number; readonly writtenMs: number } | undefined {
  try {
    const { pid, load, weightBytes } = JSON.parse(readFileSync(noteFile(home), "utf8")) as Partial<Note>;
    if (typeof pid !== "number" || typeof weightBytes !== "number" || weightBytes <= 0 || !load) return undefined;
    return { pid, weightBytes, load: parseLoadRequest(load), writtenMs: statSync(noteFile(home)).mtimeMs };
  } catch { return undefined; }
}

/** Changes with every write to a file of the model; what cannot be read is never the same. */
function filesOf({ options: { modelDir } }: Load): string {
  try {
    return readdirSync(modelDir).filter((name) => !name.startsWith(".")).sort().map((name) => `${name} ${fileState(join(modelDir, name))}`).join("\n");
  } catch (error) { return `${String(error)} ${randomUUID()}`; }
}

/** Within the control group, where there is one. */
function machineMemory(): Memory {
  const limit = process.constrainedMemory();
  return { totalBytes: limit > 0 ? Math.min(limit, totalmem()) : totalmem(), availableBytes: process.availableMemory() };
}
