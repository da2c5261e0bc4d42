/**
 * A conversation, with its tools, as prompt tokens; and how the answer to them is to be read. What every chat protocol
 * (chat completions, responses, messages) turns its request into.
 */
import { MinidError } from "../core/errors.js";
import type { ChatMessage } from "../model/chat-template.js";
import type { GrammarPart } from "../model/grammar/grammar.js";
import type { StreamDecoder } from "../model/stream-decoder.js";
import type { Tokenizer } from "../model/tokenizer.js";
import { requireTemplate } from "./models.js";
import { type OutputParser, plainText } from "./output/delta.js";
import { ReasoningParser } from "./output/reasoning.js";
import { ToolCallParser, type ToolFormatName } from "./output/tool-calls.js";
import type { Tool, ToolChoice } from "./schemas/tools.js";
import type { ServedModel } from "./served-model.js";
import { afterThinking, checkPart, finishedGrammar, type Thinking } from "./structured/grammar.js";
import { argumentsPart, toolCallMarker, toolCallsPart } from "./structured/tool-grammar.js";
import type { WantedShape } from "./structured/wanted.js";
import { withToolPrompt } from "./tools/fallback.js";
import { toolFormatOf } from "./tools/format.js";

export interface Conversation {
  readonly messages: readonly ChatMessage[];
  readonly tools: readonly Tool[];
  readonly toolChoice: ToolChoice;
  /** Variables of the template's own. */
  readonly variables: Readonly<Record<string, unknown>>;
  /** The shape that the answer must have. */
  readonly shape?: WantedShape | undefined;
  /** How the answer begins: the model goes on from there. */
  readonly beginning?: string | undefined;
  /** More than one call in one answer. Default true. */
  readonly parallelCalls?: boolean;
}

export interface ChatPrompt {
  readonly tokens: readonly number[];
  readonly newDecoder: () => StreamDecoder;
  readonly newParser: () => AnswerParser;
  /** What the answer must match, where anything was asked for. */
  readonly grammar: string | undefined;
}

/** A parser that may know of tool calls. */
export type AnswerParser = OutputParser & { readonly completeCalls: number };

/** @param newId names the calls. @throws MinidError invalid_value for a tool choice that names no tool, or for a conversation the template refuses */
export function chatPrompt(model: ServedModel, conversation: Conversation, newId: (prefix: string) => string): ChatPrompt {
  const { tokenizer } = model.assistant;
  const template = requireTemplate(model);
  const tools = offeredTools(conversation);
  const usesTools = tools.length > 0 || conversation.messages.some((message) => message.role === "tool" || "tool_calls" in message);
  const native = usesTools ? toolFormatOf(template) : undefined;
  const messages = usesTools && native === undefined ? withToolPrompt(conversation.messages, tools) : conversation.messages;
  const text = template.render({ messages, addGenerationPrompt: true, variables: conversation.variables, ...(native !== undefined && { tools }) }) + (conversation.beginning ?? "");
  const format = tools.length > 0 ? native ?? "hermes" : undefined;
  const thinking = thinkingOf(tokenizer, text);
  return {
    tokens: tokenizer.encode(text, false),
    // Some families announce calls with special tokens, which would otherwise leave no text.
    newDecoder: () => tokenizer.streamDecoder({ keepSpecial: format !== undefined && format !== "hermes" }),
    newParser: () => answerParser(format, thinking, newId),
    grammar: answerGrammar(model, conversation, { tools, format, thinking }),
  };
}

function thinkingOf(tokenizer: Tokenizer, prompt: string): Thinking {
  if (/<think>\s*$/u.test(prompt)) return "begun";
  return tokenizer.tokenId("</think>") === undefined || /<\/think>\s*$/u.test(prompt) ? "none" : "possible";
}

interface AnswerForm { readonly tools: readonly Tool[]; readonly format: ToolFormatName | undefined; readonly thinking: Thinking }

/** A shape, calls that must be made, or either where both are possible. */
function answerGrammar(model: ServedModel, { shape, toolChoice, parallelCalls = true }: Conversation, { tools, format, thinking }: AnswerForm): string | undefined {
  const mustCall = format !== undefined && toolChoice !== "auto";
  if (shape === undefined && !mustCall) return undefined;
  const parts: GrammarPart[] = [];
  if (shape !== undefined && !mustCall) {
    checkPart(shape.part, shape.param);
    parts.push(shape.part);
  }
  if (format !== undefined) {
    for (const [index, tool] of tools.entries()) checkPart(argumentsPart(tool), `tools[${index}].function.parameters`);
    parts.push(toolCallsPart(format, tools, parallelCalls && typeof toolChoice === "string"));
  }
  const { tokenizer, stopTokens } = model.assistant;
  const marker = format === undefined ? undefined : toolCallMarker(format);
  const markerToken = marker === undefined ? undefined : tokenizer.tokenId(marker);
  const root = afterThinking(thinking, { kind: "choice", parts });
  return finishedGrammar(root, stopTokens, markerToken === undefined ? [] : [markerToken], shape?.param ?? "tools");
}

function answerParser(format: ToolFormatName | undefined, thinking: Thinking, newId: (prefix: string) => string): AnswerParser {
  const calls = format === undefined ? undefined : new ToolCallParser(format, () => callId(format, newId));
  const answer = calls ?? plainText;
  const parser = thinking === "none" ? answer : new ReasoningParser(thinking === "begun", answer);
  return {
    push: (text) => parser.push(text),
    end: () => parser.end(),
    get completeCalls() { return calls?.completeCalls ?? 0; },
  };
}

/** Mistral's templates insist on nine letters and digits. */
const callId = (format: ToolFormatName, newId: (prefix: string) => string): string => format === "mistral" ? newId("").slice(0, 9) : newId("call_");

/** The tools that the model may use: none, all, or the one that the choice names. */
function offeredTools({ tools, toolChoice }: Conversation): readonly Tool[] {
  if (toolChoice === "none") return [];
  if (typeof toolChoice === "string") {
    if (toolChoice === "required" && tools.length === 0) throw new MinidError("invalid_value", "Invalid value for 'tool_choice': 'required' needs tools. Add 'tools'.", { param: "tool_choice" });
    return tools;
  }
  const { name } = toolChoice.function;
  const named = tools.filter((tool) => tool.function.name === name);
  if (named.length > 0) return named;
  throw new MinidError("invalid_value", `Invalid value for 'tool_choice': there is no tool '${name.slice(0, 64)}' in 'tools'.`, { param: "tool_choice" });
}
