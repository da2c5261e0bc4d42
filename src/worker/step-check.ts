/**
 * Is a step possible on this stage? Decided before anything of it is done, so that a step is applied whole or not at all.
 * Everything that arrives is suspect: a step may come from a confused or hostile peer, and must never reach native code with
 * a slot, position or size that the stage does not have.
 */
import { MinidError } from "../core/errors.js";
import { type CacheOp, type StepSpan, stepRowsMax } from "../core/worker-protocol.js";

export interface StepLimits {
  readonly slots: number;
  readonly contextMax: number;
  readonly hiddenSize: number;
  readonly vocabSize: number;
  /** Rank 0: spans carry tokens, `open` carries sampling and history. */
  readonly ownsText: boolean;
}

/** What a stage holds now. */
export interface StageHoldings {
  readonly rank: number;
  /** Tokens that a slot's cache holds. */
  readonly length: (slot: number) => number;
  /** Tokens that are known of a slot's sequence, undefined when it is not open (rank 0). */
  readonly history: (slot: number) => number | undefined;
  /** Rows of a slot that can be handed on once more. */
  readonly handedOn: (slot: number) => number;
}

/** Whether a rank computes a span, or kept its rows. */
export const computedBy = (lacking: StepSpan["lacking"], rank: number): boolean => !lacking || lacking.length === 0 || lacking.includes(rank);

export const cacheOpsMax = 1_024;

const refuse = (message: string): never => { throw new MinidError("invalid_value", `step refused: ${message}`); };

/**
 * @returns the rows that this rank computes.
 * @throws MinidError invalid_value, or stage_lost when a span builds on tokens that this stage does not hold or know.
 */
export function checkStep(limits: StepLimits, holdings: StageHoldings, ops: readonly CacheOp[], spans: readonly StepSpan[]): number {
  if (ops.length > cacheOpsMax) refuse(`${ops.length} cache operations, at most ${cacheOpsMax}`);
  if (spans.length > limits.slots) refuse(`${spans.length} spans for ${limits.slots} slots`);
  const lengths = new Map<number, number>();
  const histories = new Map<number, number | undefined>();
  const length = (slot: number): number => lengths.get(slot) ?? holdings.length(slot);
  const checkSlot = (slot: number): void => { if (!Number.isInteger(slot) || slot < 0 || slot >= limits.slots) refuse(`slot ${slot}, the stage has ${limits.slots}`); };
  const checkTokens = (tokens: readonly number[], what: string): void => {
    for (const token of tokens) if (!Number.isInteger(token) || token < 0 || token >= limits.vocabSize) refuse(`${what} holds token ${token}, the vocabulary has ${limits.vocabSize}`);
  };

  for (const op of ops) {
    switch (op.op) {
      case "open": {
        const { slot, sampling, history, promptLength } = op.open;
        checkSlot(slot);
        if (!limits.ownsText) break;
        if (!sampling) refuse(`slot ${slot} is opened without sampling`);
        if (history.length > limits.contextMax) refuse(`slot ${slot} is opened with ${history.length} tokens, the context holds ${limits.contextMax}`);
        if (promptLength > history.length) refuse(`slot ${slot} is opened with a prompt of ${promptLength} in a history of ${history.length} tokens`);
        checkTokens(history, `the history of slot ${slot}`);
        histories.set(slot, history.length);
        break;
      }
      case "copy": {
        const { from, to, length: count } = op.copy;
        checkSlot(from);
        checkSlot(to);
        if (from === to) refuse(`slot ${from} is copied onto itself`);
        if (count > limits.contextMax) refuse(`${count} tokens are copied, a slot holds ${limits.contextMax}`);
        if (count > length(from)) throw new MinidError("stage_lost", `${count} tokens of slot ${from} are to be copied, it holds ${length(from)} here: its cache was lost`);
        lengths.set(to, count);
        break;
      }
      case "drop": {
        checkSlot(op.drop.slot);
        lengths.set(op.drop.slot, 0);
        histories.set(op.drop.slot, undefined);
        break;
      }
      default: refuse("a cache operation of unknown kind");
    }
  }

  let rowsTotal = 0;
  const seen = new Set<number>();
  for (const { slot, position, rows, tokens, sample, everyRow, lacking } of spans) {
    checkSlot(slot);
    if (seen.has(slot)) refuse(`slot ${slot} has two spans`);
    seen.add(slot);
    if (!Number.isInteger(rows) || rows < 1) refuse(`slot ${slot} has a span of ${rows} rows`);
    const computes = computedBy(lacking, holdings.rank);
    if (computes) rowsTotal += rows;
    if (rowsTotal > stepRowsMax) refuse(`more than ${stepRowsMax} rows`);
    if (!Number.isInteger(position) || position < 0 || position + rows > limits.contextMax) refuse(`slot ${slot} reaches position ${position + rows}, the context holds ${limits.contextMax}`);
    if (position > length(slot)) throw new MinidError("stage_lost", `slot ${slot} holds ${length(slot)} tokens here, the step goes on from ${position}: its cache was lost`);
    if (lacking && lacking.length > 0 && (sample || everyRow)) refuse(`slot ${slot} has rows that some ranks kept and that are to come back`);
    if (!computes) {
      const handsOn = computedBy(lacking, holdings.rank + 1);
      const held = lengths.has(slot) ? 0 : Math.min(holdings.length(slot), handsOn ? holdings.handedOn(slot) : Infinity);
      if (position + rows > held) throw new MinidError("stage_lost", `slot ${slot} was to be kept up to ${position + rows}, ${held} tokens are held here`);
    }
    if (!limits.ownsText) continue;
    const known = histories.has(slot) ? histories.get(slot) : holdings.history(slot);
    if (known === undefined) refuse(`slot ${slot} is not open: every sequence is opened before its first span`);
    if (tokens.length > 0) {
      if (tokens.length !== rows) refuse(`slot ${slot} has ${tokens.length} tokens for ${rows} rows`);
      checkTokens(tokens, `slot ${slot}`);
    } else if (position + rows > (known ?? 0)) {
      throw new MinidError("stage_lost", `slot ${slot} is to be fed its own tokens up to ${position + rows}, ${known} are known: the step that was to sample them failed`);
    }
  }
  return rowsTotal;
}

/** @throws MinidError invalid_value when the activations are not [rows, hiddenSize]. */
export function checkHidden(hidden: Float32Array, rows: number, hiddenSize: number): void {
  if (hidden.length !== rows * hiddenSize) refuse(`${hidden.length} activations for ${rows} rows of ${hiddenSize}`);
}
