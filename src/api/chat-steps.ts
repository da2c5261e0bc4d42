/** A chat job under way: the deltas of all its choices, as they come. What chat protocols turn into their own events. */
import { MinidError } from "../core/errors.js";
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
  readonly finished?: { readonly reason: ChatFinish; readonly stop: string | undefined; readonly usage: AnswerUsage };
}

export async function* chatSteps(run: Run, job: ChatJob): AsyncGenerator<ChatStep> {
  const parsers = new Map<number, AnswerParser>();
  const called = new Set<number>();
  const documents = new Map<number, string>();
  const start = (choice: number) => {
    const parser = job.newParser();
    parsers.set(choice, parser);
    return run.answer({ ...choiceRequest(job.answer, choice), ...(job.oneCall && { over: () => parser.completeCalls > 0 }) });
  };
  for await (const { choice, piece } of choices(job.choices, start, run.interleave)) {
    const parser = parsers.get(choice)!;
    const deltas = piece.kind === "text" ? parser.push(piece.text) : parser.end();
    if (deltas.some((delta) => delta.kind === "call")) called.add(choice);
    if (job.json) for (const delta of deltas) if (delta.kind === "content") documents.set(choice, (documents.get(choice) ?? "") + delta.text);
    if (piece.kind === "text") {
      yield { choice, deltas, tokens: piece.tokens };
    } else {
      const reason = piece.reason === "stop" && called.has(choice) ? "tool_calls" : piece.reason;
      if (job.json && reason === "stop") checkDocument(documents.get(choice) ?? "");
      yield { choice, deltas, tokens: [], finished: { reason, stop: piece.stop, usage: piece.usage } };
    }
  }
}

/** The last guard of the promise that a finished document is one: what went before it keeps it, as far as anyone knows. */
function checkDocument(text: string): void {
  try {
    JSON.parse(text);
  } catch (thrown) {
    throw new MinidError("structured_output_failed", "The answer ended before it was a JSON document of the shape that was asked for. Simplify the schema.", { cause: thrown });
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
