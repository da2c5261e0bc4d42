/**
 * The thread that computes. It owns the engine and at most one loaded stage, and executes what the main thread sends, one
 * request after the other. Methods of the engine may block it for as long as a step takes; nothing else lives here.
 *
 * A catalogued error answers the request and the thread lives on. A broken invariant, or anything thrown outside a request,
 * ends the thread, and with it the process: its supervisor starts it again from a known state.
 */
import { parentPort, workerData } from "node:worker_threads";
import { MinidError, toMinidError } from "../core/errors.js";
import { InvariantViolation, invariant, unreachable } from "../core/invariant.js";
import { openCheckpoint } from "../model/checkpoint.js";
import { CheckedLately } from "../model/checked-lately.js";
import { WeightChecksums } from "../model/checksums.js";
import { stageTensors } from "../model/stage-tensors.js";
import type { Checkpoint, TensorRef } from "../model/weights.js";
import { createEngine } from "./engines/create.js";
import type { Engine, EngineName, Stage } from "./engines/engine.js";
import { Grammars } from "./grammars.js";
import { ProgressBoard } from "./progress-board.js";
import { StageRunner } from "./stage-runner.js";
import type { Activations, StageInfo, StageLoadOptions, ThreadData, ThreadReply, ThreadRequest, ThreadRequestMessage, ThreadResult } from "./thread-protocol.js";

const memoryReportIntervalMs = 250;

class EngineThread {
  readonly #board: ProgressBoard;
  readonly #home: string | undefined;
  readonly #engines = new Map<EngineName, Promise<Engine>>();
  #runner: StageRunner | undefined;
  #grammars: Grammars | undefined;
  /** Open as long as its stage: engines may read it late. */
  #checkpoint: Checkpoint | undefined;
  #memoryReportedAt = 0;

  constructor(board: ProgressBoard, home: string | undefined) {
    this.#board = board;
    this.#home = home;
  }

  async execute(request: ThreadRequest): Promise<ThreadResult> {
    switch (request.kind) {
      case "load": return this.#load(request.loadNumber, request.options);
      case "unload": await this.#unload(); return undefined;
      case "adopt": this.#stage().adopt(request.rank); this.#reportMemory(); return undefined;
      case "forget": this.#runner?.forget(request.key); return undefined;
      case "whole":
        await this.#grammars?.prepare(request.ops);
        return this.#timed(true, (stage) => {
          const held = stage.enter(request.origin, true);
          return { held, sampled: stage.whole(request.ops, request.spans) };
        });
      case "beginRing":
        await this.#grammars?.prepare(request.ops);
        return this.#timed(true, (stage) => {
          const held = stage.enter(request.origin, false);
          return { held, hidden: transferable(stage.beginRing(request.key, request.ops, request.spans)) };
        });
      case "finishRing": return this.#timed(false, (stage) => ({ sampled: stage.finishRing(request.key, request.hidden, request.faults) }));
      case "pass":
        return this.#timed(true, (stage) => {
          const held = stage.enter(request.origin, request.last);
          const { hidden, faults } = stage.pass(request.ops, request.spans, request.hidden, request.last);
          return { held, hidden: transferable(hidden), faults };
        });
      default: return unreachable(request);
    }
  }

  /** A part of what the next steps will want, made while nobody waits. @returns whether there is more. */
  warm(): boolean { return this.#runner?.warm() ?? false; }

  #stage(): StageRunner {
    if (!this.#runner) throw new MinidError("not_ready", "no stage is loaded");
    return this.#runner;
  }

  async preload(name: EngineName): Promise<void> { (await this.#engine(name)).preload?.(); }

  /** One of each, made by whoever asks first. */
  #engine(name: EngineName): Promise<Engine> {
    const known = this.#engines.get(name);
    if (known) return known;
    const engine = createEngine(name);
    this.#engines.set(name, engine);
    engine.catch(() => { this.#engines.delete(name); });
    return engine;
  }

  #timed<R extends object>(countsAsStep: boolean, compute: (stage: StageRunner) => R): R & { readonly computeMs: number } {
    const stage = this.#stage();
    const start = performance.now();
    const result = compute(stage);
    const now = performance.now();
    this.#board.advance();
    this.#board.computed(now - start, countsAsStep);
    if (now - this.#memoryReportedAt > memoryReportIntervalMs) this.#reportMemory();
    return { ...result, computeMs: now - start };
  }

  #reportMemory(): void {
    this.#memoryReportedAt = performance.now();
    const { weightBytes, kvBytes } = this.#runner?.memory() ?? { weightBytes: 0, kvBytes: 0 };
    this.#board.set("weightBytes", weightBytes);
    this.#board.set("kvBytes", kvBytes);
  }

  async #load(loadNumber: number, options: StageLoadOptions): Promise<StageInfo> {
    // Two stages seldom fit side by side: the old one goes first, whatever becomes of the new one.
    await this.#unload();
    const engine = await this.#engine(options.engine);
    const checkpoint = await openCheckpoint(options.modelDir);
    let stage: Stage | undefined;
    try {
      const { spec } = checkpoint;
      const layers = { first: options.layerFirst, end: options.layerEnd };
      if (layers.end > spec.layerCount) throw new MinidError("invalid_value", `layers ${layers.first} to ${layers.end - 1} were asked for: ${options.modelDir} has ${spec.layerCount}`);
      const contextMax = Math.min(options.contextMax, spec.maxPositions);
      const { ownsText, slots, numerics, threads, batchMax } = options;
      const moved = (): void => {
        if (this.#board.get("cancelledLoad") >= loadNumber) throw new MinidError("cancelled", "another load took the place of this one");
        this.#board.advance();
      };
      await this.#checkWeights(checkpoint, stageTensors(checkpoint, layers, ownsText), moved);
      stage = await engine.load({
        checkpoint, layers, ownsText, numerics, threads, slots, contextMax, batchMax,
        onProgress: (loadedBytes, totalBytes) => {
          this.#board.set("bytesLoaded", loadedBytes);
          this.#board.set("bytesTotal", totalBytes);
          moved();
        },
      });
      const limits = { slots, contextMax, hiddenSize: spec.hiddenSize, vocabSize: spec.vocabSize, ownsText };
      const grammars = ownsText ? new Grammars(options.modelDir, spec.vocabSize) : undefined;
      const finalNorm = ownsText ? { weight: await checkpoint.readFloat32(checkpoint.finalNorm), epsilon: spec.rmsNormEps } : undefined;
      this.#grammars = grammars;
      this.#runner = new StageRunner({ stage, limits, layers, onProgress: () => { this.#board.advance(); }, ...(grammars && { grammars }), ...(finalNorm && { finalNorm }) });
      this.#checkpoint = checkpoint;
      this.#board.advance();
      this.#reportMemory();
      return { hiddenSize: spec.hiddenSize, contextMax, engine: engine.description, replay: engine.replay };
    } catch (error) {
      stage?.dispose();
      await checkpoint.close();
      throw error;
    }
  }

  async #checkWeights({ directory }: Checkpoint, tensors: readonly TensorRef[], onProgress: () => void): Promise<void> {
    const lately = this.#home === undefined ? undefined : new CheckedLately(this.#home);
    if (lately?.covers(tensors)) return;
    const checksums = await WeightChecksums.open(directory, this.#home);
    await checksums.check(tensors, onProgress);
    await checksums.keep();
    lately?.note(tensors);
  }

  async #unload(): Promise<void> {
    this.#runner?.dispose();
    this.#runner = undefined;
    this.#grammars = undefined;
    await this.#checkpoint?.close();
    this.#checkpoint = undefined;
    this.#reportMemory();
  }
}

/** The same numbers in a buffer of their own, which can be given away. Copies only a view into something larger. */
function transferable(values: Float32Array): Activations {
  const { buffer } = values;
  return buffer instanceof ArrayBuffer && buffer.byteLength === values.byteLength ? new Float32Array(buffer) : new Float32Array(values);
}

const port = parentPort;
invariant(port, "engine-thread.ts is started by EngineHost");
const { board, preload, home } = workerData as ThreadData;
const thread = new EngineThread(new ProgressBoard(board), home);
const queue: ThreadRequestMessage[] = [];
let running = false;

/** Between requests the event loop turns: some engines free memory only then. */
const next = (): void => {
  const message = queue.shift();
  running = message !== undefined;
  if (message) void serve(message).finally(() => { setImmediate(next); });
  else if (thread.warm()) setImmediate(rest);
};
/** Between two parts of warming up, requests come first. */
const rest = (): void => { if (!running) next(); };

async function serve({ id, request }: ThreadRequestMessage): Promise<void> {
  let reply: ThreadReply;
  const transfer: ArrayBuffer[] = [];
  try {
    const result = await thread.execute(request);
    if (result && "hidden" in result) transfer.push(result.hidden.buffer);
    reply = { id, result };
  } catch (error) {
    if (error instanceof InvariantViolation) throw error;
    const failure = error instanceof MinidError ? error : new MinidError("engine_failed", toMinidError(error).message, { cause: error });
    reply = { id, errorCode: failure.code, error: failure.message };
  }
  port?.postMessage(reply, transfer);
}

port.on("message", (message: ThreadRequestMessage) => {
  queue.push(message);
  if (!running) next();
});
// Where it fails, the load that needs the engine says why.
if (preload) thread.preload(preload).catch(() => undefined);
