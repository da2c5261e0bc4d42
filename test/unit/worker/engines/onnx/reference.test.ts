/** SmolLM2 against the six conversations that an independent implementation answered. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openCheckpoint } from "../../../../../src/model/checkpoint.js";
import type { Stage } from "../../../../../src/worker/engines/engine.js";
import { argmax, feed, fixtures, loadStage, smolDirectory } from "./stages.js";

interface Conversation { readonly prompt: number[]; readonly greedy: number[]; readonly top5_logprobs: readonly (readonly [number, number])[][] }
const conversations = JSON.parse(readFileSync(join(fixtures, "SmolLM2-135M-Instruct-8bit/reference.json"), "utf8")) as Conversation[];

describe.each([
  { numerics: "fast", top1: 0.95, error: 0.06, sameTexts: false },
  { numerics: "precise", top1: 0.995, error: 0.001, sameTexts: true },
  { numerics: "exact", top1: 0.995, error: 0.001, sameTexts: true },
] as const)("$numerics", ({ numerics, top1, error, sameTexts }) => {
  it(`agrees along the reference's answers: top-1 at least ${top1}, logprobs within ${error} on average${sameTexts ? "; and gives the same six texts by itself, in one batch" : ""}`, async () => {
    const checkpoint = await openCheckpoint(smolDirectory);
    const stage = await loadStage(checkpoint, numerics);
    let agreed = 0;
    let sum = 0;
    conversations.forEach(({ prompt, greedy, top5_logprobs: top5 }, slot) => {
      const hidden = feed([stage], slot, [...prompt, ...greedy.slice(0, -1)]);
      const logits = stage.head(hidden.subarray((prompt.length - 1) * checkpoint.spec.hiddenSize));
      greedy.forEach((token, at) => {
        const row = logits.subarray(at * checkpoint.spec.vocabSize, (at + 1) * checkpoint.spec.vocabSize);
        if (argmax(row) === token) agreed += 1;
        sum += Math.abs(logprob(row, token) - top5[at]!.find(([id]) => id === token)![1]);
      });
    });
    const tokens = conversations.reduce((total, { greedy }) => total + greedy.length, 0);
    expect(agreed / tokens).toBeGreaterThanOrEqual(top1);
    expect(sum / tokens).toBeLessThanOrEqual(error);
    if (sameTexts) expect(generateTogether(stage, checkpoint.spec.vocabSize)).toEqual(conversations.map(({ greedy }) => greedy));
    stage.dispose();
    await checkpoint.close();
  });
});

/** Greedy answers of all conversations in one batch, each as long as the reference's. */
function generateTogether(stage: Stage, vocabSize: number): number[][] {
  const answers = conversations.map(({ prompt }, slot) => {
    stage.drop(slot);
    const hidden = feed([stage], slot, prompt);
    return [argmax(stage.head(hidden.subarray(hidden.length - hidden.length / prompt.length)))];
  });
  for (;;) {
    const open = conversations.map((_, slot) => slot).filter((slot) => answers[slot]!.length < conversations[slot]!.greedy.length);
    if (open.length === 0) return answers;
    const spans = open.map((slot) => ({ slot, position: stage.length(slot), rows: 1 }));
    const logits = stage.head(stage.forward(spans, stage.embed(Int32Array.from(open, (slot) => answers[slot]!.at(-1)!)), () => {}));
    open.forEach((slot, at) => { answers[slot]!.push(argmax(logits.subarray(at * vocabSize, (at + 1) * vocabSize))); });
  }
}

function logprob(logits: Float32Array, token: number): number {
  const largest = logits[argmax(logits)]!;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  return logits[token]! - largest - Math.log(sum);
}
