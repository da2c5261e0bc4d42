/** A chat job under way: the deltas of all its choices, as they come. What chat protocols turn into their own events. */
import type { GeneratedToken } from "../daemon/inference/generate.js";
import type { AnswerUsage } from "./answer.js";
import type { ChatJob } from "./chat-job.js";
import type { AnswerParser } from "./chat-prompt.js";
import { choiceRequest, choices } from "./choices.js";
import type { Run } from "./generation.js";
import type { Delta } from "./output/delta.js";

export type ChatFinish = "stop" | "length" | "tool_calls";

export interface ChatStep {
  readonly choice: number;
  readonly deltas: readonly Delta[];
  readonly tokens: readonly GeneratedToken[];
  /** In the last step of each choice. */
  readonly finished?: { readonly reason: ChatFinish; readonly usage: AnswerUsage };
}

export async function* chatSteps(run: Run, job: ChatJob): AsyncGenerator<ChatStep> {
  const parsers = new Map<number, AnswerParser>();
  const called = new Set<number>();
  const start = (choice: number) => {
    const parser = job.newParser();
    parsers.set(choice, parser);
    return run.answer({ ...choiceRequest(job.answer, choice), ...(job.oneCall && { over: () => parser.completeCalls > 0 }) });
  };
  for await (const { choice, piece } of choices(job.choices, start)) {
    const parser = parsers.get(choice)!;
    const deltas = piece.kind === "text" ? parser.push(piece.text) : parser.end();
    if (deltas.some((delta) => delta.kind === "call")) called.add(choice);
    if (piece.kind === "text") {
      yield { choice, deltas, tokens: piece.tokens };
    } else {
      const reason = piece.reason === "stop" && called.has(choice) ? "tool_calls" : piece.reason;
      yield { choice, deltas, tokens: [], finished: { reason, usage: piece.usage } };
    }
  }
}

/** Of all choices together: the prompt was computed once. */
export function totalUsage(usages: readonly AnswerUsage[]): AnswerUsage {
  return {
    promptTokens: usages[0]?.promptTokens ?? 0,
    completionTokens: usages.reduce((sum, usage) => sum + usage.completionTokens, 0),
    cachedPromptTokens: usages[0]?.cachedPromptTokens ?? 0,
  };
}
