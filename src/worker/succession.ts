/**
 * Which worker process of a home serves. pm2 keeps two: one serves, the other has everything at hand, where memory is plentiful even the
 * stage (spare-stage.ts), and takes over when the first is dead, whatever it died of. So a killed worker costs no process start.
 *
 * Invariants: whoever holds the worker's port is the worker; a process that finds a living one in the run file waits. A standby holds no
 * place in a ring, no port and no epoch, and nobody but its own watchdog needs to look after it: where it is missing or stuck, the process that
 * pm2 starts in the place of the dead one serves instead.
 */
import { sleep } from "../core/clock.js";
import { isAlive, processStartTime } from "../core/process-identity.js";
import { type RunFile, announceSelf, readRunFile, removeRunFile } from "../core/run-file.js";

/** A look costs two small reads of /proc; elsewhere a signal 0, and the start time (a `ps`) once a second. */
const lookIntervalMs = 30;
const looksPerProof = 33;
/** A standby that starts after a death leaves the processor to the recovery. */
const settleMs = 10_000;

export class Succession {
  readonly #home: string;
  readonly #signal: AbortSignal;

  /** @param signal aborted when this process leaves. */
  constructor(home: string, signal: AbortSignal) {
    this.#home = home;
    this.#signal = signal;
  }

  /** Before anything is prepared. @param standby started as the second of two: gives the first the time to begin. @returns whether it waited. */
  async settle(standby: boolean): Promise<boolean> {
    if (!standby && !this.#served()) return false;
    announceSelf(this.#home, "standby", { incarnation: "", port: 0 });
    const until = performance.now() + settleMs;
    let seen = this.#served();
    while (performance.now() < until && !this.#signal.aborted) {
      const now = this.#served();
      if (seen && !now) break;
      seen = now;
      await this.#pause();
    }
    return true;
  }

  /** Resolves when no other worker lives in this home, or when this process leaves. @param onLook now and then, the pid of who serves. @returns whether it waited for one. */
  async turn(onLook: (pid: number) => void): Promise<boolean> {
    let waited = false;
    for (let worker = this.#served(); worker && !this.#signal.aborted; worker = this.#served()) {
      waited = true;
      for (let looks = 1; !this.#signal.aborted && stillThere(worker, looks); looks += 1) {
        if (looks % looksPerProof === 0) onLook(worker.pid);
        await this.#pause();
      }
    }
    return waited;
  }

  /** Another worker lives in this home. */
  get served(): boolean { return this.#served() !== undefined; }

  /** Waits no longer. */
  leave(): void { removeRunFile(this.#home, "standby", process.pid); }

  /** The living worker that the run file names, if it is another. */
  #served(): RunFile | undefined {
    const found = readRunFile(this.#home, "worker");
    return found && found.pid !== process.pid && isAlive(found) ? found : undefined;
  }

  async #pause(): Promise<void> { await sleep(lookIntervalMs, { signal: this.#signal }).catch(() => undefined); }
}

function stillThere(worker: RunFile, looks: number): boolean {
  if (process.platform === "linux" || looks % looksPerProof === 0) return processStartTime(worker.pid) === worker.startTime;
  try { return process.kill(worker.pid, 0); } catch { return false; }
}
