/** Real worker processes on loopback, and a small scheduler that drives them: what the worker's integration tests share. */
import { type ChildProcess, fork, spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { MinidError } from "../../../src/core/errors.js";
import { type Epoch, nodeId } from "../../../src/core/ids.js";
import { readRunFile } from "../../../src/core/run-file.js";
import { type Transport, insecureTransport } from "../../../src/core/transport.js";
import { type RunStream, type WorkerClient, connectWorker } from "../../../src/core/worker-client.js";
import { type CacheOp, type Keep, type LoadRequest, type Sampled, type Sampling, type StepResult, type StepSpan, greedySampling } from "../../../src/core/worker-protocol.js";
import { compiledPath } from "../../support/compiled.js";
import { until } from "../../support/wait.js";

export const tiny = (name: string): string => fileURLToPath(new URL(`../../fixtures/tiny/${name}`, import.meta.url));
export const smollm = fileURLToPath(new URL("../../../models/SmolLM2-135M-Instruct-8bit", import.meta.url));
export const epochOf = (counter: number, node = "aa"): Epoch => ({ counter, nodeId: nodeId(node) });

export interface Exit { readonly code: number | null; readonly signal: NodeJS.Signals | null }

export class WorkerProcess {
  readonly home: string;
  readonly child: ChildProcess;
  readonly exited: Promise<Exit>;
  readonly client: WorkerClient;
  readonly port: number;
  readonly #output: string[];

  private constructor(home: string, child: ChildProcess, exited: Promise<Exit>, client: WorkerClient, port: number, output: string[]) {
    this.home = home;
    this.child = child;
    this.exited = exited;
    this.client = client;
    this.port = port;
    this.#output = output;
  }

  static async start(options: { readonly home?: string; readonly port?: number; readonly supervised?: boolean; readonly transport?: Transport; readonly peerName?: string } = {}): Promise<WorkerProcess> {
    const home = options.home ?? await mkdtemp(join(tmpdir(), "minid-worker-"));
    const { child, exited, output } = spawnWorker(home, options.port ?? 0, { supervised: options.supervised ?? false, insecure: options.transport === undefined });
    const run = await until("the worker listens", () => {
      if (child.exitCode !== null) throw new Error(`the worker ended: ${output.join("")}`);
      const file = readRunFile(home, "worker");
      return file?.pid === child.pid ? file : undefined;
    });
    const client = connectWorker(`127.0.0.1:${run.port}`, options.peerName ?? "", options.transport ?? insecureTransport);
    return new WorkerProcess(home, child, exited, client, run.port, output);
  }

  get output(): string { return this.#output.join(""); }
  get address(): string { return `127.0.0.1:${this.port}`; }

  /** Ends the process if it lives, and removes its home. */
  async clean(options: { readonly keepHome?: boolean } = {}): Promise<void> {
    this.client.close();
    if (this.child.exitCode === null) this.child.kill("SIGKILL");
    await this.exited;
    if (!options.keepHome) await rm(this.home, { recursive: true, force: true });
  }
}

export function spawnWorker(home: string, port: number, { supervised = false, insecure = true } = {}): { readonly child: ChildProcess; readonly exited: Promise<Exit>; readonly output: string[] } {
  const env = { ...process.env, MINID_HOME: home, MINID_WORKER_PORT: String(port), MINID_GRPC_HOST: "127.0.0.1", ...(insecure ? { MINID_INSECURE: "1" } : {}), ...(supervised ? { pm_id: "0" } : {}) };
  const script = compiledPath("worker/main.js");
  const child = supervised ? fork(script, { env, silent: true }) : spawn(process.execPath, [script], { env, stdio: ["ignore", "pipe", "pipe"] });
  const output: string[] = [];
  child.stdout?.on("data", (chunk: Buffer) => { output.push(chunk.toString()); });
  child.stderr?.on("data", (chunk: Buffer) => { output.push(chunk.toString()); });
  const exited = new Promise<Exit>((resolve) => { child.on("exit", (code, signal) => { resolve({ code, signal }); }); });
  return { child, exited, output };
}

export async function layerCount(model: string): Promise<number> {
  const config: unknown = JSON.parse(await readFile(join(model, "config.json"), "utf8"));
  return (config as { readonly num_hidden_layers: number }).num_hidden_layers;
}

export const loadRequest = (model: string, layerEnd: number, more: Partial<LoadRequest> = {}): LoadRequest => ({
  epoch: epochOf(1), planVersion: 1, modelId: "test/model", modelDir: model, rank: 0, worldSize: 1, layerFirst: 0, layerEnd, engine: "onnx", numerics: "fast",
  threads: 1, slots: 8, contextMax: 256, batchMax: 4, nextAddress: "", nextName: "", ...more,
});

/** Loads one stage of the model on each worker: cuts layers evenly, closes the ring. */
export async function loadRing(workers: readonly WorkerProcess[], model: string, more: Partial<LoadRequest> = {}): Promise<void> {
  const layers = await layerCount(model);
  const cut = (rank: number): number => Math.round(layers * rank / workers.length);
  await Promise.all(workers.map(async (worker, rank) => {
    const next = workers[(rank + 1) % workers.length];
    await worker.client.load(loadRequest(model, cut(rank + 1), { rank, worldSize: workers.length, layerFirst: cut(rank), nextAddress: workers.length > 1 ? next?.address ?? "" : "", ...more }));
  }));
}

/** Sends steps on one Run stream and pairs their results. */
export class Driver {
  readonly #run: RunStream;
  readonly #waiting = new Map<number, { readonly resolve: (result: StepResult) => void; readonly reject: (error: Error) => void }>();
  readonly #epoch: Epoch;
  readonly #planVersion: number;
  /** Numbers of the results in the order of their arrival. */
  readonly order: number[] = [];
  ended: MinidError | undefined | "open" = "open";
  #seq = 0;

  constructor(client: WorkerClient, epoch = epochOf(1), planVersion = 1) {
    this.#epoch = epoch;
    this.#planVersion = planVersion;
    this.#run = client.run({
      onResult: (result) => {
        this.order.push(result.stepSeq);
        this.#waiting.get(result.stepSeq)?.resolve(result);
        this.#waiting.delete(result.stepSeq);
      },
      onEnd: (error) => {
        this.ended = error;
        for (const { reject } of this.#waiting.values()) reject(error ?? new MinidError("cancelled", "the stream ended"));
        this.#waiting.clear();
      },
    });
  }

  /** The result as it is, failed or not. */
  step(ops: readonly CacheOp[], spans: readonly StepSpan[], keep?: Keep): Promise<StepResult> {
    this.#seq += 1;
    const stepSeq = this.#seq;
    if (this.ended !== "open") return Promise.reject(this.ended ?? new MinidError("cancelled", "the stream ended"));
    return new Promise((resolve, reject) => {
      this.#waiting.set(stepSeq, { resolve, reject });
      this.#run.send({ epoch: this.#epoch, planVersion: this.#planVersion, stepSeq, ops, spans, ...(keep && { keep }) });
    });
  }

  close(): void { this.#run.close(); }

  /** Prefills in chunks, then decodes: the tokens and their logprobs. Several of these may run at once. */
  async generate(slot: number, prompt: readonly number[], count: number, wishes: Partial<Sampling> = {}, chunk = 128): Promise<readonly Sampled[]> {
    const emitted: Sampled[] = [];
    for (let position = 0; position < prompt.length; position += chunk) {
      const tokens = prompt.slice(position, position + chunk);
      const result = succeeded(await this.step(position === 0 ? [open(slot, prompt, wishes)] : [], [span(slot, position, tokens, position + chunk >= prompt.length)]));
      emitted.push(...result.sampled);
    }
    while (emitted.length < count) {
      const last = emitted.at(-1);
      if (!last) throw new Error("a step sampled nothing");
      const result = succeeded(await this.step([], [span(slot, prompt.length + emitted.length - 1, [last.token], true)]));
      emitted.push(...result.sampled);
    }
    return emitted;
  }
}

/** The same answer with a step always sent ahead: spans that are fed the token an earlier step has yet to sample. */
export async function generateAhead(driver: Driver, slot: number, prompt: readonly number[], count: number, ahead: number, wishes: Partial<Sampling> = {}): Promise<readonly Sampled[]> {
  const emitted: Sampled[] = [];
  const flying: Promise<StepResult>[] = [driver.step([open(slot, prompt, wishes)], [{ slot, position: 0, rows: prompt.length, tokens: [], sample: true }])];
  for (let sent = 1; emitted.length < count; emitted.push(...succeeded(await (flying.shift() ?? Promise.reject(new Error("nothing was sent")))).sampled)) {
    for (; sent < count && flying.length <= ahead; sent += 1) flying.push(driver.step([], [{ slot, position: prompt.length + sent - 1, rows: 1, tokens: [], sample: true }]));
  }
  return emitted;
}

export function succeeded(result: StepResult): StepResult {
  if (result.errorCode !== "") throw new Error(`step ${result.stepSeq} failed: ${result.errorCode}: ${result.error}`);
  return result;
}

export const someTokens = (count: number, vocabSize: number, seed = 1): number[] => Array.from({ length: count }, (_, i) => (i * 7_919 + seed * 104_729) % vocabSize);

export const open = (slot: number, history: readonly number[], wishes: Partial<Sampling> = {}): CacheOp =>
  ({ op: "open", open: { slot, sampling: { ...greedySampling, logprobs: true, ...wishes }, history, promptLength: history.length } });

export const span = (slot: number, position: number, tokens: readonly number[], sample: boolean): StepSpan => ({ slot, position, rows: tokens.length, tokens, sample });
