/** What goes into and comes out of the supervision policy. Plain data; times are monotonic milliseconds of the agent. */
import type { Epoch, Millis } from "../../core/ids.js";
import type { LoadRequest, ProbeReply } from "../../core/worker-protocol.js";
import type { WorkerFacts } from "../membership/facts.js";
import type { CrashRecord } from "./crash-loop.js";

/** The process that the worker's run file names, if that process is alive. */
export interface WorkerProcess { readonly pid: number; readonly incarnation: string }

export type SupervisorInput =
  /** Often: every `tickIntervalMs` or more frequently. Late ticks are harmless. */
  | { readonly kind: "tick" }
  /** The answer to the `probe` effect of that id. */
  | { readonly kind: "probed"; readonly id: number; readonly reply: ProbeReply; readonly tookMs: number; readonly process: WorkerProcess | undefined }
  /** @property lagMs how late the agent's own loop was meanwhile: a late agent says nothing about the worker. */
  | { readonly kind: "probeFailed"; readonly id: number; readonly error: string; readonly lagMs: number; readonly process: WorkerProcess | undefined }
  /** Something else saw the worker fail (a stream broke): look at once. */
  | { readonly kind: "suspected" }
  /** The stage of the plan in force, or none. Repeating it is harmless. */
  | { readonly kind: "assigned"; readonly request: LoadRequest | undefined }
  | { readonly kind: "loadEnded"; readonly id: number; readonly outcome: LoadOutcome };

export type LoadOutcome =
  | { readonly kind: "ready" }
  /** The worker answered: no. @property retryable as the error catalogue has it. */
  | { readonly kind: "refused"; readonly code: string; readonly message: string; readonly retryable: boolean }
  /** No answer to be had: the worker went away. */
  | { readonly kind: "lost" };

export type KillReason = "unresponsive" | "stuck_computing" | "stuck_loading" | "never_started" | "lied";

export type SupervisorEffect =
  | { readonly kind: "probe"; readonly id: number; readonly timeoutMs: number }
  /** Replaces a load that still runs. */
  | { readonly kind: "load"; readonly id: number; readonly request: LoadRequest }
  | { readonly kind: "cancelLoad"; readonly id: number }
  /** SIGKILL, after checking that the pid still is that worker. */
  | { readonly kind: "kill"; readonly process: WorkerProcess; readonly reason: KillReason; readonly text: string }
  /** What the cluster is told; only when it changed. */
  | { readonly kind: "report"; readonly facts: WorkerFacts }
  | { readonly kind: "event"; readonly event: SupervisorEvent };

export type SupervisorEvent =
  /** Another process answers now. @property reason why the one before was killed, or `died` when nobody here did it. */
  | { readonly kind: "restarted"; readonly reason: KillReason | "died"; readonly incarnation: string }
  /** Parts of one outage: last sign of health → found → answering again → stage loaded; `total` is their sum. */
  | { readonly kind: "recovery"; readonly phase: "detect" | "restart" | "load" | "total"; readonly tookMs: number }
  | { readonly kind: "loadRefused"; readonly code: string; readonly message: string; readonly retryInMs: number }
  | { readonly kind: "crashLoop"; readonly deathsInARow: number; readonly nextLoadInMs: number };

/** The worker process that answered last. */
export interface SeenWorker {
  readonly reply: ProbeReply;
  readonly epoch: Epoch;
  readonly firstAnswerAt: Millis;
  readonly lastAnswerAt: Millis;
  /** For how long the progress counter has been seen still, while work was in flight. */
  readonly stillMs: number;
  /** Answers in a row that contradicted themselves. */
  readonly contradictions: number;
  /** It has finished a load for a plan and computed, or lived on for a while: its death is not part of a crash loop. */
  readonly proven: boolean;
}

/** Of the machine as measured: slow is not sick. Completed pauses only, decaying. */
export interface Pace { readonly computeGapMs: number; readonly loadGapMs: number; readonly probeMs: number }

export interface LoadState {
  readonly nextId: number;
  readonly running: { readonly id: number; readonly request: LoadRequest } | undefined;
  /** Refusals in a row of this assignment. */
  readonly refusals: number;
  readonly notBefore: Millis;
  /** Why the last one was refused. */
  readonly error: string;
  /** Answers to earlier probes are older than the outcome of the last load. */
  readonly needsProbeFrom: number;
  /** Incarnation of the worker that was last told to load. */
  readonly triedIn: string;
}

export interface SupervisorState {
  readonly target: LoadRequest | undefined;
  readonly worker: SeenWorker | undefined;
  /** Failed probes in a row, and when the first was noticed. */
  readonly failures: number;
  readonly failingSince: Millis;
  /** Failures in a row that the agent's own lateness explains. */
  readonly excused: number;
  readonly lastError: string;
  /** Since when the run file's process has been alive without ever answering. */
  readonly starting: { readonly incarnation: string; readonly since: Millis } | undefined;
  readonly probe: { readonly nextId: number; readonly outstanding: number | undefined; readonly dueAt: Millis; readonly lastAnsweredId: number };
  readonly load: LoadState;
  readonly killed: { readonly incarnation: string; readonly reason: KillReason; readonly at: Millis } | undefined;
  readonly outage: { readonly healthyAt: Millis; readonly foundAt: Millis; readonly answeredAt: Millis | undefined } | undefined;
  readonly crashes: CrashRecord;
  readonly restarts: number;
  readonly pace: Pace;
  readonly startedAt: Millis;
  readonly reported: WorkerFacts;
}

export interface Step { readonly state: SupervisorState; readonly effects: readonly SupervisorEffect[] }
