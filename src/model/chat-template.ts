/**
 * Messages to prompt text, by the model's own Jinja template. The template decides the format and what it can express; a message
 * that it refuses is the client's error, told in the template's words.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { MinidError } from "../core/errors.js";
import { BoundedTemplate } from "./bounded-template.js";
import { unreadable } from "./safetensors.js";
import { specialTokenText } from "./tokenizer.js";
import type { TokenizerConfig } from "./tokenizer.js";

/** A message as OpenAI's API has it, `content` already plain text where the template wants text. */
export interface ChatMessage {
  readonly role: string;
  readonly content?: unknown;
  readonly [field: string]: unknown;
}

export interface RenderOptions {
  readonly messages: readonly ChatMessage[];
  /** JSON-schema function tools, in OpenAI's shape. */
  readonly tools?: readonly unknown[];
  /** Ends the prompt where the assistant's turn begins. */
  readonly addGenerationPrompt: boolean;
  /** Further variables of the template (`enable_thinking`): the request's `chat_template_kwargs`. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** Jinja's own globals and what we set: not for a client to redefine. */
const reservedVariables = new Set([
  "messages", "tools", "documents", "add_generation_prompt", "bos_token", "eos_token", "pad_token", "unk_token",
  "true", "false", "none", "True", "False", "None", "raise_exception", "range", "strftime_now", "namespace",
]);

export class ChatTemplate {
  readonly #main: BoundedTemplate;
  readonly #forTools: BoundedTemplate;
  readonly #specialTokens: Readonly<Record<string, string>>;

  /** @param sources templates by name; `default` is there, `tool_use` may be. */
  constructor(sources: ReadonlyMap<string, string>, config: TokenizerConfig, file: string) {
    const parse = (source: string): BoundedTemplate => {
      try {
        return new BoundedTemplate(source);
      } catch (thrown) {
        throw new MinidError("model_unsupported", `${file}: the chat template does not parse: ${messageOf(thrown)}: correct it, or choose another model`, { cause: thrown });
      }
    };
    const [first] = sources.values();
    const main = sources.get("default") ?? first ?? "";
    this.#main = parse(main);
    const toolUse = sources.get("tool_use");
    this.#forTools = toolUse === undefined ? this.#main : parse(toolUse);
    const specialTokens: Record<string, string> = {};
    for (const name of ["bos_token", "eos_token", "pad_token", "unk_token"] as const) {
      const text = specialTokenText(config[name]);
      if (text !== undefined) specialTokens[name] = text;
    }
    this.#specialTokens = specialTokens;
  }

  /** @throws MinidError invalid_value, `param` messages or chat_template_kwargs. */
  render(options: RenderOptions): string {
    for (const name of Object.keys(options.variables ?? {})) {
      if (reservedVariables.has(name)) {
        throw new MinidError("invalid_value", `chat_template_kwargs.${name} is set by the server and cannot be given: leave it out`, { param: `chat_template_kwargs.${name}` });
      }
    }
    const hasTools = options.tools !== undefined && options.tools.length > 0;
    try {
      return (hasTools ? this.#forTools : this.#main).render({
        ...options.variables,
        ...this.#specialTokens,
        messages: options.messages.map(withParsedArguments),
        // None and not undefined where there are none, as in Transformers: templates test for either.
        tools: hasTools ? options.tools : null,
        documents: null,
        add_generation_prompt: options.addGenerationPrompt,
      }, options.messages.length);
    } catch (thrown) {
      throw new MinidError("invalid_value", `the model's chat template refuses these messages: ${messageOf(thrown)}: change the messages' roles, order or content`, { param: "messages", cause: thrown });
    }
  }
}

/** @returns undefined for a model without a template. @throws MinidError model_unreadable | model_unsupported */
export async function openChatTemplate(directory: string, config: TokenizerConfig): Promise<ChatTemplate | undefined> {
  const file = join(directory, "chat_template.jinja");
  const own = await readFile(file, "utf8").catch((thrown: unknown) => {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT") return undefined;
    throw unreadable(file, thrown);
  });
  if (own !== undefined) return new ChatTemplate(new Map([["default", own]]), config, file);
  const { chat_template: inConfig } = config;
  if (inConfig === undefined || inConfig === null || inConfig.length === 0) return undefined;
  const sources = typeof inConfig === "string" ? new Map([["default", inConfig]]) : new Map(inConfig.map(({ name, template }) => [name, template]));
  return new ChatTemplate(sources, config, join(directory, "tokenizer_config.json"));
}

/** OpenAI sends a tool call's arguments as JSON text; templates print them as JSON themselves and would quote the text a second time. */
function withParsedArguments(message: ChatMessage): ChatMessage {
  if (!Array.isArray(message["tool_calls"])) return message;
  return { ...message, tool_calls: (message["tool_calls"] as unknown[]).map(parsedCall) };
}

function parsedCall(call: unknown): unknown {
  if (!isRecord(call) || !isRecord(call["function"])) return call;
  const { arguments: text } = call["function"];
  if (typeof text !== "string") return call;
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? { ...call, function: { ...call["function"], arguments: value } } : call;
  } catch {
    return call;
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);
const messageOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));
