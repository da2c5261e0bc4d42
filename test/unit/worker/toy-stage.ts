/** A stage small enough to reason about: a row's hidden state is its token and everything its slot holds before it, folded into one number. */
import type { Span, Stage } from "../../../src/worker/engines/engine.js";

export const toyHiddenSize = 2;
export const toyVocabSize = 16;

export class ToyStage implements Stage {
  readonly slots = new Map<number, number[]>();
  /** Calls that change the cache, in order. */
  readonly log: string[] = [];
  poison = false;

  memory() { return { weightBytes: 0, kvBytes: 8 * Array.from(this.slots.values()).reduce((sum, { length }) => sum + length, 0) }; }

  embed(tokens: Int32Array): Float32Array {
    const hidden = new Float32Array(tokens.length * toyHiddenSize);
    for (const [row, token] of tokens.entries()) hidden[row * toyHiddenSize] = token;
    return hidden;
  }

  forward(spans: readonly Span[], hidden: Float32Array, onProgress: () => void): Float32Array {
    const output = hidden.slice();
    let row = 0;
    for (const { slot, position, rows } of spans) {
      const cache = (this.slots.get(slot) ?? []).slice(0, position);
      if (cache.length < position) throw new Error("a gap reached the engine");
      for (let i = 0; i < rows; i += 1, row += 1) {
        cache.push(hidden[row * toyHiddenSize] ?? 0);
        output[row * toyHiddenSize] = cache.reduce((sum, value, at) => sum + value * (at + 1), 0);
      }
      this.slots.set(slot, cache);
      onProgress();
    }
    if (this.poison) output[0] = Number.NaN;
    return output;
  }

  head(hidden: Float32Array): Float32Array {
    const rows = hidden.length / toyHiddenSize;
    const logits = new Float32Array(rows * toyVocabSize);
    for (let row = 0; row < rows; row += 1) {
      const favourite = (hidden[row * toyHiddenSize] ?? 0) % toyVocabSize;
      for (let id = 0; id < toyVocabSize; id += 1) logits[row * toyVocabSize + id] = id === favourite ? 5 : id / toyVocabSize;
    }
    return logits;
  }

  copy(from: number, to: number, length: number): void {
    this.log.push(`copy ${from} ${to} ${length}`);
    this.slots.set(to, (this.slots.get(from) ?? []).slice(0, length));
  }
  drop(slot: number): void { this.log.push(`drop ${slot}`); this.slots.delete(slot); }
  length(slot: number): number { return this.slots.get(slot)?.length ?? 0; }
  dispose(): void { this.slots.clear(); }
}
