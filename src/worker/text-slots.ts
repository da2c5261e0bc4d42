/**
 * What rank 0 knows of each sequence besides its cache: the sampling parameters and the tokens so far. With the logits that is
 * all the next token depends on.
 *
 * A token that is fed where the history says otherwise replaces it, and what followed there is gone: so a sequence may be
 * rewound without being opened again. Sampling looks only at the tokens before its position.
 */
import { MinidError } from "../core/errors.js";
import { invariant } from "../core/invariant.js";
import type { OpenSlot, Sampled } from "../core/worker-protocol.js";
import type { GrammarMatcher } from "../model/grammar/matcher.js";
import { type FinalNorm, Pool } from "./pool.js";
import { Sampler } from "./sampler.js";
import { type SamplingParams, samplingParams } from "./sampling-params.js";

const historyRoom = 256;

export class TextSlots {
  readonly #vocabSize: number;
  readonly #sampler: Sampler;
  readonly #slots = new Map<number, TextSlot>();
  readonly #matcher: (grammar: string | undefined) => GrammarMatcher | undefined;
  readonly #finalNorm: FinalNorm | undefined;

  /** @param matcher for the grammar that a sequence brings along. @param finalNorm what embeddings need of the model. */
  constructor(vocabSize: number, matcher: (grammar: string | undefined) => GrammarMatcher | undefined = () => undefined, finalNorm?: FinalNorm) {
    this.#vocabSize = vocabSize;
    this.#matcher = matcher;
    this.#finalNorm = finalNorm;
    this.#sampler = new Sampler(vocabSize);
  }

  /** @throws MinidError invalid_value for parameters out of range. */
  prepare({ sampling, history, promptLength, pooling }: OpenSlot): TextSlot {
    invariant(sampling, "checkStep lets no slot be opened without sampling");
    return new TextSlot(samplingParams(sampling, this.#vocabSize), history, promptLength, this.#matcher(sampling.grammar), this.#pool(pooling));
  }

  #pool(pooling: OpenSlot["pooling"]): Pool | undefined {
    if (pooling === undefined || pooling === "") return undefined;
    if (pooling !== "last" && pooling !== "mean") throw new MinidError("invalid_value", `step refused: pooling ${String(pooling)}: it is last or mean`, { param: "pooling" });
    if (!this.#finalNorm) throw new MinidError("invalid_value", "step refused: this stage cannot embed");
    return new Pool(pooling, this.#finalNorm);
  }

  open(slot: number, text: TextSlot): void { this.#slots.set(slot, text); }

  /** Tokens known of a slot's sequence; undefined when it is not open. */
  historyLength(slot: number): number | undefined { return this.#slots.get(slot)?.length; }
  drop(slot: number): void { this.#slots.delete(slot); }
  clear(): void { this.#slots.clear(); }

  get(slot: number): TextSlot {
    const text = this.#slots.get(slot);
    invariant(text, "checkStep lets no slot be used that is not open");
    return text;
  }

  /** Samples the token at `position` and adds it to the history. @param text as it was when the step began: the slot may serve another sequence by now. */
  sample(slot: number, text: TextSlot, position: number, logits: Float32Array): Sampled {
    const history = text.before(position);
    const allowed = text.matcher?.allowedAfter(history.subarray(text.promptLength));
    const sampled = this.#sampler.sample({ logits, params: text.params, position, history, promptLength: text.promptLength, ...(allowed && { allowed }) });
    text.feed(position, [sampled.token]);
    return { slot, ...sampled };
  }
}

export class TextSlot {
  readonly params: SamplingParams;
  readonly promptLength: number;
  readonly matcher: GrammarMatcher | undefined;
  /** Of a sequence that is embedded. */
  readonly pool: Pool | undefined;
  #tokens: Int32Array;
  #length: number;

  constructor(params: SamplingParams, history: readonly number[], promptLength: number, matcher?: GrammarMatcher, pool?: Pool) {
    this.params = params;
    this.matcher = matcher;
    this.pool = pool;
    this.promptLength = promptLength;
    this.#tokens = new Int32Array(history.length + historyRoom);
    this.#tokens.set(history);
    this.#length = history.length;
  }

  get length(): number { return this.#length; }

  /** The tokens at [position, position + rows) of the history, which must know them. */
  at(position: number, rows: number): Int32Array {
    invariant(position + rows <= this.#length, "checkStep lets no span be fed from tokens that the history lacks");
    return this.#tokens.subarray(position, position + rows);
  }

  /** The tokens before a position: fewer than `position` when some were never told. */
  before(position: number): Int32Array { return this.#tokens.subarray(0, Math.min(position, this.#length)); }

  /** Tokens at [position, position + tokens.length), as fed to the model or sampled from it. */
  feed(position: number, tokens: readonly number[]): void {
    // A gap cannot be filled: those tokens were cached before the slot was opened with a shorter history.
    if (position > this.#length) return;
    this.#reserve(position + tokens.length);
    for (const [i, token] of tokens.entries()) {
      const at = position + i;
      if (at < this.#length && this.#tokens[at] === token) continue;
      this.#tokens[at] = token;
      this.#length = at + 1;
    }
  }

  #reserve(length: number): void {
    if (length <= this.#tokens.length) return;
    const larger = new Int32Array(Math.max(length, this.#tokens.length * 2));
    larger.set(this.#tokens);
    this.#tokens = larger;
  }
}
