/**
 * Does an engine compute what the checkpoint means? Runs the reference's prompt and its greedy continuation through separate stages cut at the
 * given layers, and holds every layer, the logits and the tokens against the reference. Knows no engine by name.
 *
 * Each layer's hidden state is seen by running the prompt once through stages of one layer; the cut that was asked for then has to
 * give the last layer's state, the logits and the tokens, through its caches.
 */
import { MinidError } from "../core/errors.js";
import { openCheckpoint } from "../model/checkpoint.js";
import { WeightChecksums } from "../model/checksums.js";
import { argmax, readReference, relativeError } from "../model/reference.js";
import type { Reference } from "../model/reference.js";
import { allTensors } from "../model/stage-tensors.js";
import type { Checkpoint } from "../model/weights.js";
import type { Engine, Numerics, Stage } from "./engines/engine.js";

export interface VerifyOptions {
  readonly directory: string;
  readonly engine: Engine;
  readonly numerics: Numerics;
  /** Layers at which a new stage begins, ascending, each within 1 .. layerCount - 1; empty: one stage. */
  readonly split: readonly number[];
  readonly threads?: number;
  /** Where checksums go that the model's directory does not take. */
  readonly home?: string;
}

export interface VerifyReport {
  readonly engine: string;
  readonly numerics: Numerics;
  readonly split: readonly number[];
  /** The largest relative error (see `relativeError`) of the hidden state after each layer. */
  readonly layerErrors: readonly number[];
  /** The same of the hidden state that leaves the last stage of the cut. */
  readonly splitError: number;
  readonly logitsError: number;
  /** Positions of the prompt whose most likely token is the reference's. */
  readonly top1: { readonly agreed: number; readonly of: number };
  /** Tokens of the greedy continuation. `decided` are the disagreements where the reference's margin is wide. */
  readonly greedy: { readonly agreed: number; readonly of: number; readonly decided: number };
  readonly tolerance: Tolerance;
  readonly passed: boolean;
  /** What is out of tolerance, a sentence each; empty when passed. */
  readonly failures: readonly string[];
}

export interface Tolerance {
  /** Largest relative error of a hidden state; absent: reported, not judged. */
  readonly layers?: number;
  readonly logits: number;
  /** Whether every greedy token must agree, or only those whose margin is wide. */
  readonly everyGreedyToken: boolean;
}

const tolerances: Readonly<Record<Numerics, Tolerance>> = {
  exact: { layers: 1e-4, logits: 1e-4, everyGreedyToken: true },
  /** Measured: 4e-4 at most on the tiny checkpoints, whose random weights are the worst case. */
  precise: { layers: 0.01, logits: 0.01, everyGreedyToken: false },
  fast: { logits: 0.06, everyGreedyToken: false },
};

/** Room in the cache for what an engine does beyond the tokens themselves (padding rows). */
const contextSpare = 8;

/** @throws MinidError what opening and loading throw; invalid_value for a split that the model does not have. */
export async function verifyModel(options: VerifyOptions): Promise<VerifyReport> {
  const checkpoint = await openCheckpoint(options.directory);
  try {
    const { spec } = checkpoint;
    checkSplit(options.split, spec.layerCount);
    const checksums = await WeightChecksums.open(checkpoint.directory, options.home);
    await checksums.check(allTensors(checkpoint));
    await checksums.keep();
    const reference = await readReference(checkpoint.directory, spec);
    const everyLayer = Array.from({ length: spec.layerCount - 1 }, (_, layer) => layer + 1);
    const layers = await withStages(checkpoint, options, reference, everyLayer, stages =>
      forward(stages, reference.prompt, 0).map((state, layer) => relativeError(state, reference.hidden[layer]!)));
    const cut = await withStages(checkpoint, options, reference, options.split, stages => throughCut(stages, reference, spec.vocabSize));
    return judge(options, layers, cut, reference);
  } finally {
    await checkpoint.close();
  }
}

function checkSplit(split: readonly number[], layerCount: number): void {
  let before = 0;
  for (const layer of split) {
    if (!Number.isInteger(layer) || layer <= before || layer >= layerCount) {
      throw new MinidError("invalid_value", `split ${split.join(",")} is not ascending layers between 1 and ${layerCount - 1}: correct it`, { param: "split" });
    }
    before = layer;
  }
}

async function withStages<T>(checkpoint: Checkpoint, options: VerifyOptions, reference: Reference, split: readonly number[], use: (stages: readonly Stage[]) => T): Promise<T> {
  const stages: Stage[] = [];
  try {
    const bounds = [0, ...split, checkpoint.spec.layerCount];
    for (let i = 0; i + 1 < bounds.length; i += 1) {
      stages.push(await options.engine.load({
        checkpoint,
        layers: { first: bounds[i]!, end: bounds[i + 1]! },
        ownsText: i === 0,
        numerics: options.numerics,
        threads: options.threads ?? 2,
        slots: 1,
        contextMax: reference.prompt.length + reference.greedy.length + contextSpare,
        batchMax: 1,
      }));
    }
    return use(stages);
  } finally {
    for (const stage of stages) stage.dispose();
  }
}

/** @returns the hidden state that leaves each stage, [tokens.length, hiddenSize]. */
function forward(stages: readonly Stage[], tokens: Int32Array, position: number): Float32Array[] {
  let state = stages[0]!.embed(tokens);
  return stages.map(stage => {
    state = stage.forward([{ slot: 0, position, rows: tokens.length }], state, () => undefined);
    return state;
  });
}

interface CutResult {
  readonly splitError: number;
  readonly logitsError: number;
  readonly top1Agreed: number;
  /** By step: whether the token that the engine would choose, after the reference's own tokens, is the reference's. */
  readonly greedyAgreed: readonly boolean[];
}

function throughCut(stages: readonly Stage[], reference: Reference, vocabSize: number): CutResult {
  const text = stages[0]!;
  const last = forward(stages, reference.prompt, 0).at(-1)!;
  const logits = text.head(last);
  const row = (values: Float32Array, index: number): Float32Array => values.subarray(index * vocabSize, (index + 1) * vocabSize);
  const rows = reference.prompt.length;
  let top1Agreed = 0;
  for (let i = 0; i < rows; i += 1) if (argmax(row(logits, i)) === argmax(row(reference.logits, i))) top1Agreed += 1;

  // Along the reference's tokens, so that one near-tie does not decide all that follows; when all agree, a free run would have written the same.
  const greedyAgreed: boolean[] = [];
  let next = row(logits, rows - 1);
  for (const [step, token] of reference.greedy.entries()) {
    greedyAgreed.push(argmax(next) === token);
    if (step + 1 < reference.greedy.length) next = text.head(forward(stages, Int32Array.of(token), rows + step).at(-1)!);
  }
  return { splitError: relativeError(last, reference.hidden.at(-1)!), logitsError: relativeError(logits, reference.logits), top1Agreed, greedyAgreed };
}

function judge(options: VerifyOptions, layerErrors: readonly number[], cut: CutResult, reference: Reference): VerifyReport {
  const tolerance = tolerances[options.numerics];
  const { splitError, logitsError } = cut;
  const largestLogit = reference.logits.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  // Both of two logits may be off by the error that the prompt's showed, towards each other: a margin beyond that is not explained by rounding.
  const wide = 2 * logitsError * largestLogit;
  const decided = cut.greedyAgreed.filter((agreed, step) => !agreed && reference.greedyMargin[step]! > wide).length;
  const agreed = cut.greedyAgreed.filter(Boolean).length;
  const of = cut.greedyAgreed.length;

  const failures: string[] = [];
  const outside = (what: string, error: number, most: number | undefined): void => {
    if (most !== undefined && error > most) failures.push(`${what}: relative error ${error.toExponential(2)}, more than ${most}`);
  };
  for (const [layer, error] of layerErrors.entries()) outside(`hidden state after layer ${layer}`, error, tolerance.layers);
  outside("hidden state after the last stage", splitError, tolerance.layers);
  outside("logits", logitsError, tolerance.logits);
  if (decided > 0) failures.push(`greedy: ${decided} of ${of} tokens differ where the reference's margin is wider than ${wide.toPrecision(2)}`);
  if (tolerance.everyGreedyToken && agreed < of) failures.push(`greedy: only ${agreed} of ${of} tokens agree`);
  return {
    engine: options.engine.description,
    numerics: options.numerics,
    split: options.split,
    layerErrors,
    splitError,
    logitsError,
    top1: { agreed: cut.top1Agreed, of: reference.prompt.length },
    greedy: { agreed, of, decided },
    tolerance,
    passed: failures.length === 0,
    failures,
  };
}
