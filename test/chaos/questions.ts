/** What the streams ask: short and long prompts, greedy and sampled, with penalties and stop strings, so that every part of a resume is used. */
import type { Question } from "../support/answer.js";

const filler = "The quick brown fox jumps over the lazy dog near the river bank while the sun sets behind the hills. ";

export const questions: readonly Question[] = [
  { prompt: "Tell me a long story about a fox.", maxTokens: 160 },
  { prompt: "Explain how a steam engine works, step by step.", maxTokens: 120, temperature: 0.8, seed: 11 },
  { prompt: "List facts about the sea.", maxTokens: 90, temperature: 1.2, seed: 12, extra: { top_p: 0.9, frequency_penalty: 0.4 } },
  { prompt: `${filler.repeat(12)}Summarize the text above and go on with it.`, maxTokens: 60 },
  { prompt: `${filler.repeat(25)}What colour is the fox?`, maxTokens: 40, temperature: 0.7, seed: 13, extra: { presence_penalty: 0.5 } },
  { prompt: "Count from one to a hundred in words.", maxTokens: 140, extra: { frequency_penalty: 0.2 } },
  { prompt: "Write a poem about the night sky.", maxTokens: 100, temperature: 1, seed: 14, extra: { stop: ["\n\n\n"] } },
  { prompt: "Hello!", maxTokens: 12 },
];
