/**
 * `Generator` of an answer that was begun before: first the tokens that are known, then the rest, which is remembered in its turn.
 * Gives every token alone, so that whatever is made of them does not depend on how they came.
 */
import type { GenerateEvent, GenerateRequest, Generator } from "../inference/generate.js";
import { type AnswerRecord, type Claim, logOf } from "./record.js";

export interface ReplayOptions {
  readonly record: AnswerRecord;
  readonly inner: Generator;
  /** Resolves when the record may be relied on: nothing is given before. */
  readonly kept: Promise<void>;
  readonly claim: Claim;
}

export class ReplayingGenerator implements Generator {
  readonly #options: ReplayOptions;
  constructor(options: ReplayOptions) { this.#options = options; }

  async *generate(request: GenerateRequest, signal: AbortSignal): AsyncGenerator<GenerateEvent, void, undefined> {
    const { record, inner, kept, claim } = this.#options;
    const log = logOf(record, request.requestId);
    const known = [...log.tokens];
    await kept;
    if (log.cachedPromptTokens !== undefined) yield { kind: "admitted", cachedPromptTokens: log.cachedPromptTokens };
    for (const token of known) yield { kind: "tokens", tokens: [token] };
    if (log.finished !== undefined && known.length === log.tokens.length) {
      yield { kind: "finished", reason: log.finished, cachedPromptTokens: log.cachedPromptTokens ?? 0 };
      return;
    }
    const rest = { ...request, claim, emitted: [...request.emitted, ...known.map(({ token }) => token)] };
    for await (const event of inner.generate(rest, signal)) {
      switch (event.kind) {
        case "admitted":
          if (log.cachedPromptTokens !== undefined) break;
          log.cachedPromptTokens = event.cachedPromptTokens;
          yield event;
          break;
        case "tokens":
          log.append(event.tokens);
          for (const token of event.tokens) yield { kind: "tokens", tokens: [token] };
          break;
        default: {
          const cachedPromptTokens = log.cachedPromptTokens ?? event.cachedPromptTokens;
          log.cachedPromptTokens = cachedPromptTokens;
          log.finish(event.reason);
          yield { ...event, cachedPromptTokens };
        }
      }
    }
  }
}
