/**
 * Which frames a rank may compute: those of the run that began last, each once, in order and with none left out. So every rank
 * that computes a frame holds exactly what the frames before it made of its cache, whatever connections broke on the way.
 *
 * Why the plan is not fence enough: a ring that is lost and started again keeps its plan. Frames of the first start may still lie in
 * a connection that broke, or wait behind a process that stood still, and arrive among those of the second. A row that lands where
 * the cache happens to end would be taken, and a wrong token sampled from it.
 *
 * Runs have no order among themselves. A frame in place 1 begins its run, and finds or makes every slot empty (`Step` in
 * worker.proto); one that comes too late stops the younger run, whose scheduler then starts again: a delay, never a wrong token.
 */
import { randomInt } from "node:crypto";
import { MinidError } from "../core/errors.js";

/** A frame's place among all frames. */
export interface RunPlace {
  readonly run: number;
  /** From 1. */
  readonly place: number;
}

/** Never 0, which is what a message without one says. */
export const newRunId = (): number => randomInt(1, 2 ** 47);

export class RunOrder {
  #run = 0;
  #last = 0;

  /** @throws MinidError stage_lost */
  admit({ run, place }: RunPlace): void {
    if (place === 1 && run !== this.#run && run !== 0) this.#run = run;
    else if (run !== this.#run || run === 0) throw new MinidError("stage_lost", "a frame of an earlier run, or of one whose beginning did not come by here");
    else if (place !== this.#last + 1) throw new MinidError("stage_lost", `frame ${place} of a run came after frame ${this.#last}`);
    this.#last = place;
  }

  /** Is this the run that began last? */
  current(run: number): boolean { return run === this.#run; }
}
