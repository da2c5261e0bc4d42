/**
 * Which tokens end an answer: what `generation_config.json` and `config.json` call eos, the tokenizer's eos, and the token with which the
 * chat template closes an assistant's turn, since some checkpoints name only `<|endoftext|>` as eos and would talk on for ever.
 */
import type { ChatTemplate } from "./chat-template.js";
import { specialTokenText } from "./tokenizer.js";
import type { Tokenizer } from "./tokenizer.js";

/** A word that no template contains. */
const answerMark = "minidanswermark";

/** @param eos values of `eos_token_id`, each a number, a list or absent. @returns ascending, without doubles. */
export function stopTokensOf(tokenizer: Tokenizer, template: ChatTemplate | undefined, eos: readonly (number | readonly number[] | null | undefined)[]): number[] {
  const stops = new Set<number>(eos.flatMap(value => value ?? []));
  const ownEos = specialTokenText(tokenizer.config.eos_token);
  const ownEosId = ownEos === undefined ? undefined : tokenizer.tokenId(ownEos);
  if (ownEosId !== undefined) stops.add(ownEosId);
  const endOfTurn = template === undefined ? undefined : endOfTurnToken(tokenizer, template);
  if (endOfTurn !== undefined) stops.add(endOfTurn);
  return [...stops].sort((a, b) => a - b);
}

/** The special token right after an answer in a rendered conversation. */
function endOfTurnToken(tokenizer: Tokenizer, template: ChatTemplate): number | undefined {
  let rendered: string;
  try {
    rendered = template.render({ messages: [{ role: "user", content: "question" }, { role: "assistant", content: answerMark }], addGenerationPrompt: false });
  } catch {
    // A template that wants more than these two messages closes its turns all the same; its eos has to do.
    return undefined;
  }
  const at = rendered.lastIndexOf(answerMark);
  if (at < 0) return undefined;
  const [next] = tokenizer.encode(rendered.slice(at + answerMark.length).trimStart(), false);
  return next !== undefined && tokenizer.isSpecial(next) ? next : undefined;
}
