/**
 * What is known of one machine's node: its home, its processes, its model, its part of the plan. Gathered by
 * `daemon/doctor/node-probe.ts`, by the agent itself or, when that is down, by `minid doctor`; judged by `home-checks.ts` and
 * `process-checks.ts`. What could not be found out is undefined, and judged by nobody.
 */
export interface HomeLook {
  readonly path: string;
  readonly state: "ok" | "missing" | "not_a_directory" | "foreign" | "read_only";
  /** Files and directories that others than its owner can read or write, with their modes. */
  readonly open: readonly string[];
  /** Records that cannot be read, in words. */
  readonly damaged: readonly string[];
  /** Records that were damaged and moved aside. */
  readonly setAside: readonly string[];
}

export interface TrustLook {
  /** Why the home's trust cannot be used; undefined: it can. */
  readonly problem: string | undefined;
  /** The home was never in a cluster: nothing is wrong with what is not there. */
  readonly founded: boolean;
  readonly certificate: { readonly fromMs: number; readonly toMs: number } | undefined;
}

export interface ProcessLook {
  /** `stopped`: there, but halted by a signal. */
  readonly state: "running" | "stopped" | "gone";
  readonly pid: number | undefined;
  /** Whether it answered when asked; undefined: it was not asked. */
  readonly answers: boolean | undefined;
  readonly lastEnd: { readonly agoMs: number; readonly how: string } | undefined;
  /** Ends within `crashWindowMs`. */
  readonly endsLately: number;
  /** The last complaint of its last life; empty: none. */
  readonly lastWords: string;
}

export interface ModelLook {
  readonly id: string;
  /** Why this machine cannot load it; undefined: it can, as far as headers tell. */
  readonly problem: { readonly code: "model_missing" | "model_corrupt"; readonly text: string } | undefined;
}

export interface StageLook {
  readonly rank: number;
  readonly layers: readonly [number, number];
  /** Weights and the cache at its fullest. */
  readonly bytesMax: number;
  readonly workerRssBytes: number;
  readonly availableBytes: number;
}

/** A machine that was forgotten and calls on this node's port all the same. */
export interface RefusedCaller { readonly device: string; readonly address: string; readonly count: number; readonly agoMs: number }

export interface PaceLook {
  /** Pages swapped in and out within a second of looking. */
  readonly swappedPagesPerSecond: number | undefined;
  /** How the system slows its processor down for heat, in words; undefined: it does not, or does not say. */
  readonly throttled: string | undefined;
}

export interface NodeLook {
  readonly nowWallMs: number;
  readonly home: HomeLook;
  /** What keeps the configuration from being read. */
  readonly configProblem: string | undefined;
  readonly trust: TrustLook;
  /** Only where logs lie on another file system than the home. */
  readonly logDisk: { readonly path: string; readonly freeBytes: number; readonly totalBytes: number } | undefined;
  readonly openFilesMax: number | undefined;
  readonly ports: { readonly http: number; readonly agent: number; readonly worker: number };
  readonly pm2: ProcessLook;
  readonly agent: ProcessLook;
  readonly worker: ProcessLook;
  readonly model: ModelLook | undefined;
  readonly stage: StageLook | undefined;
  readonly pace: PaceLook;
  readonly refused: readonly RefusedCaller[];
  /** The release that runs and the one that is installed. */
  readonly version: { readonly running: string | undefined; readonly installed: string };
}

/** Ends of a process within this time count together. */
export const crashWindowMs = 120_000;
