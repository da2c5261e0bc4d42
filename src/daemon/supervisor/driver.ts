/**
 * Runs the supervision policy against the real worker beside this agent: probes, loads, kills. Executes effects and decides nothing.
 *
 * Nothing is killed on the word of an answer alone: the pid must be the run file's process, or a child of the same pm2 as this
 * agent. A new worker gets a new channel, so that no reconnect backoff delays the first answer after a restart.
 */
import { accessSync, constants } from "node:fs";
import { join } from "node:path";
import { type Clock, Timers } from "../../core/clock.js";
import { MinidError, toMinidError } from "../../core/errors.js";
import { type Millis, millis } from "../../core/ids.js";
import type { Log } from "../../core/log.js";
import { isAlive, killProcess, parentPid, processStartTime, type ProcessIdentity } from "../../core/process-identity.js";
import { readRunFile } from "../../core/run-file.js";
import type { WorkerClient } from "../../core/worker-client.js";
import type { LoadRequest, ProbeReply } from "../../core/worker-protocol.js";
import { complaintOf, wordsOf } from "../logs/last-words.js";
import type { WorkerFacts } from "../membership/facts.js";
import { tickIntervalMs } from "./bounds.js";
import { initialState, isSettled, step } from "./policy.js";
import type { SupervisorEffect, SupervisorEvent, SupervisorInput, SupervisorState, WorkerProcess } from "./types.js";

export interface SupervisorDeps {
  readonly home: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly probeIntervalMs: number;
  /** A new channel to the worker's server, which tells when it breaks; see `workerConnector`. */
  readonly connect: (onBroken: () => void) => WorkerClient;
  readonly onFacts: (facts: WorkerFacts) => void;
  readonly onEvent: (event: SupervisorEvent) => void;
}

const never = millis(Infinity);

export class Supervisor {
  readonly #deps: SupervisorDeps;
  readonly #timers: Timers;
  readonly #inputs: SupervisorInput[] = [];
  #state: SupervisorState;
  #running = false;
  #stopped = false;
  #client: WorkerClient | undefined;
  /** Incarnation in the run file when the channel was made. */
  #clientFor = "";
  /** The run file when it was last looked at. */
  #found: ReturnType<typeof readRunFile>;
  #loading: { readonly id: number; readonly abort: AbortController } | undefined;
  #tickAt: Millis = never;
  #lagMs = 0;
  /** When a worker last answered: a complaint from before is not why none answers now. */
  #answeredWallMs: number;
  /** What was complained of since then; empty when nothing was. */
  #lastWords = "";
  #listening = false;

  constructor(deps: SupervisorDeps) {
    this.#deps = deps;
    this.#answeredWallMs = deps.clock.wallMs();
    this.#state = initialState(deps.clock.now());
    this.#timers = new Timers((name, error) => deps.log.error({ timer: name, error: String(error) }, "a timer failed"));
  }

  start(): void {
    this.#input({ kind: "tick" });
  }

  /** The stage of the plan in force (`loadRequestOf`), or none. */
  assign(request: LoadRequest | undefined): void { this.#input({ kind: "assigned", request }); }

  /** Somebody's stream to the worker broke: look at once. */
  suspect(): void { this.#input({ kind: "suspected" }); }

  facts(): WorkerFacts { return this.#state.reported; }

  /** The newest answer of a worker that answers; undefined otherwise. */
  lastReply(): ProbeReply | undefined { return this.#state.failures === 0 ? this.#state.worker?.reply : undefined; }

  stop(): void {
    this.#stopped = true;
    this.#timers.stop();
    this.#loading?.abort.abort(new MinidError("cancelled", "the agent stops"));
    this.#client?.close();
  }

  /** Every `tickIntervalMs`, unless all is well: then when the next probe is due, since a connection that breaks tells so itself. */
  #tickLater(): void {
    const now = this.#deps.clock.now();
    const { dueAt, outstanding } = this.#state.probe;
    const waitMs = Math.max(tickIntervalMs, isSettled(this.#state) && outstanding === undefined ? dueAt - now : 0);
    if (this.#tickAt <= now + waitMs) return;
    const tickAt = millis(now + waitMs);
    this.#tickAt = tickAt;
    this.#timers.after("supervise worker", waitMs, () => {
      this.#tickAt = never;
      this.#lagMs = Math.max(this.#lagMs, this.#deps.clock.now() - tickAt);
      this.#input({ kind: "tick" });
    });
  }

  #input(input: SupervisorInput): void {
    this.#inputs.push(input);
    if (this.#running || this.#stopped) return;
    this.#running = true;
    try {
      for (let next = this.#inputs.shift(); next; next = this.#inputs.shift()) {
        const { state, effects } = step(this.#state, next, this.#deps.clock.now(), { probeIntervalMs: this.#deps.probeIntervalMs });
        this.#state = state;
        for (const effect of effects) this.#execute(effect);
      }
    } finally {
      this.#running = false;
      if (!this.#stopped) this.#tickLater();
    }
  }

  #execute(effect: SupervisorEffect): void {
    switch (effect.kind) {
      case "probe": void this.#probe(effect.id, effect.timeoutMs); return;
      case "load": void this.#load(effect.id, effect.request); return;
      case "cancelLoad": if (this.#loading?.id === effect.id) this.#loading.abort.abort(new MinidError("cancelled", "another stage is wanted")); return;
      case "kill": this.#kill(effect.process, effect.reason, effect.text); return;
      case "report": this.#deps.onFacts(effect.facts); return;
      case "event": this.#event(effect.event); return;
    }
  }

  /** Never rejects: a failure is an input. */
  async #probe(id: number, timeoutMs: number): Promise<void> {
    const startedAt = this.#deps.clock.now();
    this.#lagMs = 0;
    try {
      const reply = await this.#channel().probe(timeoutMs);
      this.#answeredWallMs = this.#deps.clock.wallMs();
      this.#lastWords = "";
      const found = this.#found?.incarnation === reply.incarnation ? this.#found : readRunFile(this.#deps.home, "worker");
      this.#input({ kind: "probed", id, reply, tookMs: this.#deps.clock.now() - startedAt, process: found });
    } catch (error) {
      const found = readRunFile(this.#deps.home, "worker");
      const process = found && isAlive(found) ? found : undefined;
      const why = process ? "" : homeTrouble(this.#deps.home) ?? this.#lastWords;
      this.#input({ kind: "probeFailed", id, error: why === "" ? toMinidError(error).message : why, lagMs: this.#lagMs, process });
      if (!process) this.#listen();
    }
  }

  /** For the probes to come: no failure waits for a disk, which may be what the worker died of. */
  #listen(): void {
    if (this.#listening) return;
    this.#listening = true;
    const since = this.#answeredWallMs;
    void wordsOf(this.#deps.home, "worker", since).then((text) => {
      this.#listening = false;
      if (since === this.#answeredWallMs) this.#lastWords = complaintOf(text);
    });
  }

  async #load(id: number, request: LoadRequest): Promise<void> {
    this.#loading?.abort.abort(new MinidError("cancelled", "another stage is wanted"));
    const abort = new AbortController();
    this.#loading = { id, abort };
    this.#deps.log.info({ planVersion: request.planVersion, epoch: request.epoch.counter, rank: request.rank, layers: [request.layerFirst, request.layerEnd] }, "loading a stage");
    try {
      await this.#channel().load(request, { signal: abort.signal });
      this.#input({ kind: "loadEnded", id, outcome: { kind: "ready" } });
    } catch (error) {
      const { code, message, retryable } = toMinidError(error);
      const lost = code === "not_ready" || code === "cancelled" || code === "deadline_exceeded";
      this.#input({ kind: "loadEnded", id, outcome: lost ? { kind: "lost" } : { kind: "refused", code, message, retryable } });
    } finally {
      if (this.#loading?.id === id) this.#loading = undefined;
    }
  }

  #channel(): WorkerClient {
    this.#found = readRunFile(this.#deps.home, "worker");
    const incarnation = this.#found?.incarnation ?? "";
    if (this.#client && incarnation === this.#clientFor) return this.#client;
    this.#client?.close();
    this.#clientFor = incarnation;
    this.#client = this.#deps.connect(() => this.suspect());
    return this.#client;
  }

  #kill(process: WorkerProcess, reason: string, text: string): void {
    const identity = this.#identify(process);
    const sent = identity !== undefined && killProcess(identity);
    this.#deps.log.warn({ pid: process.pid, incarnation: process.incarnation, reason, sent }, sent ? `killed the worker: ${text}` : `the worker should be killed (${text}), but its pid is not a worker of this home`);
  }

  #identify(worker: WorkerProcess): ProcessIdentity | undefined {
    const found = readRunFile(this.#deps.home, "worker");
    if (found?.incarnation === worker.incarnation) return found;
    // The run file may be missing (a full disk): siblings under one pm2 are ours too.
    const sibling = process.env["pm_id"] !== undefined && worker.pid !== process.pid && parentPid(worker.pid) === process.ppid;
    return sibling ? { pid: worker.pid, startTime: processStartTime(worker.pid) } : undefined;
  }

  #event(event: SupervisorEvent): void {
    if (event.kind !== "recovery") this.#deps.log.warn({ ...event }, `worker: ${event.kind}`);
    else if (event.phase === "total") this.#deps.log.info({ tookMs: Math.round(event.tookMs) }, "the worker is back");
    this.#deps.onEvent(event);
  }
}

/** pm2 opens a log file for whatever it starts: on a disk that takes none, nothing comes back. */
function homeTrouble(home: string): string | undefined {
  const logs = join(home, "logs");
  try {
    accessSync(logs, constants.W_OK);
    return undefined;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    return code === "ENOENT" ? undefined : `${logs} cannot be written (${code}), and nothing can be started without: see to the disk`;
  }
}
