/**
 * Who may change this worker, as pure decisions: epochs only rise, and within one epoch plan versions only rise. A lower one is
 * an old leader that does not know yet; a higher one is obeyed only through Load, which says what the new plan is.
 */
import { MinidError } from "../core/errors.js";
import { type Epoch, compareEpochs, epochText, sameEpoch } from "../core/ids.js";

/** A plan's place in the order of plans. */
export interface Term { readonly epoch: Epoch; readonly planVersion: number }

export const termText = (term: Term): string => `epoch ${epochText(term.epoch)}, plan ${term.planVersion}`;

export const sameTerm = (a: Term, b: Term): boolean => sameEpoch(a.epoch, b.epoch) && a.planVersion === b.planVersion;

/**
 * May a Load of this term proceed? The same term again may: it is the same plan.
 * @param highest the highest epoch ever accepted here, restarts included. @param wanted the term of the last Load that was accepted in this process.
 * @throws MinidError stale_epoch
 */
export function admitLoad(highest: Epoch, wanted: Term | undefined, load: Term): void {
  if (compareEpochs(load.epoch, highest) < 0) throw new MinidError("stale_epoch", `Load for ${termText(load)} refused: epoch ${epochText(highest)} was accepted here`);
  if (wanted && sameEpoch(wanted.epoch, load.epoch) && load.planVersion < wanted.planVersion) throw new MinidError("stale_epoch", `Load for ${termText(load)} refused: plan ${wanted.planVersion} of that epoch was accepted here`);
}

/**
 * May a step or a frame of this term run? Only one of the plan that is loaded.
 * @param active the term whose stage is ready. @throws MinidError stale_epoch | not_ready
 */
export function admitStep(highest: Epoch, active: Term | undefined, step: Term): void {
  if (active && sameTerm(active, step)) return;
  const older = compareEpochs(step.epoch, highest) < 0 || (active && sameEpoch(active.epoch, step.epoch) && step.planVersion < active.planVersion);
  if (older) throw new MinidError("stale_epoch", `a step of ${termText(step)} refused: ${active ? termText(active) : `epoch ${epochText(highest)}`} was accepted here`);
  throw new MinidError("not_ready", `a step of ${termText(step)} refused: ${active ? `the stage of ${termText(active)} is loaded` : "no stage is loaded"}`);
}
