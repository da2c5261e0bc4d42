import { readFileSync } from "node:fs";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openAssistant } from "../../../src/model/assistant.js";
import type { Assistant } from "../../../src/model/assistant.js";
import type { ChatMessage } from "../../../src/model/chat-template.js";

interface Conversation { messages: ChatMessage[]; rendered: string; prompt: number[]; greedy: number[]; text: string }

const model = join(import.meta.dirname, "../../../models/SmolLM2-135M-Instruct-8bit");
const reference = JSON.parse(readFileSync(join(import.meta.dirname, "../../fixtures/SmolLM2-135M-Instruct-8bit/reference.json"), "utf8")) as Conversation[];

let scratch: string;
beforeAll(async () => { scratch = await mkdtemp(join(tmpdir(), "minid-assistant-")); });
afterAll(() => rm(scratch, { recursive: true, force: true }));

/** The embedded model's text files, with some replaced. */
async function variant(name: string, files: Record<string, unknown>): Promise<string> {
  const directory = join(scratch, name);
  for (const file of ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]) await cp(join(model, file), join(directory, file));
  for (const [file, content] of Object.entries(files)) {
    if (content === undefined) await rm(join(directory, file));
    else await writeFile(join(directory, file), typeof content === "string" ? content : JSON.stringify(content));
  }
  return directory;
}

const tokenizerConfig = (): Record<string, unknown> => JSON.parse(readFileSync(join(model, "tokenizer_config.json"), "utf8")) as Record<string, unknown>;
const generationConfig = (fields: Record<string, unknown>): Record<string, unknown> => fields;

describe("the embedded assistant", () => {
  let assistant: Assistant;
  beforeAll(async () => { assistant = await openAssistant(model); });

  it.each(reference.map((conversation, index) => [index, conversation] as const))("renders and tokenizes conversation %i as the Python libraries do", (_, conversation) => {
    const rendered = assistant.template?.render({ messages: conversation.messages, addGenerationPrompt: true });
    expect(rendered).toBe(conversation.rendered);
    expect(assistant.tokenizer.encode(conversation.rendered, false)).toEqual(conversation.prompt);
  });

  it.each(reference.map((conversation, index) => [index, conversation] as const))("decodes conversation %i back, prompt and answer", (_, conversation) => {
    expect(assistant.tokenizer.decode(conversation.prompt, { keepSpecial: true })).toBe(conversation.rendered);
    expect(assistant.tokenizer.decode(conversation.greedy)).toBe(conversation.text);
  });

  it("stops at the end of a turn, and knows its size", () => {
    expect(assistant.stopTokens).toEqual([2]);
    expect(assistant.tokenizer.vocabSize).toBe(49152);
    expect(assistant.spec.maxPositions).toBe(8192);
    expect(assistant.defaults).toEqual({});
  });

  it("gives a token's bytes and text", () => {
    const [token] = assistant.tokenizer.encode("東", false);
    expect([...assistant.tokenizer.tokenBytes(token ?? -1)].length).toBeGreaterThan(0);
    expect(assistant.tokenizer.tokenText(2)).toBe("<|im_end|>");
    expect(assistant.tokenizer.isSpecial(2)).toBe(true);
    expect(assistant.tokenizer.tokenBytes(10_000_000)).toHaveLength(0);
  });
});

describe("openAssistant", () => {
  it("unites the stop tokens of the generation config, the config, the tokenizer and the template", async () => {
    const config = tokenizerConfig();
    config["eos_token"] = "<|endoftext|>";
    const assistant = await openAssistant(await variant("stops", {
      "generation_config.json": generationConfig({ eos_token_id: [7, 9], temperature: 0.6, top_p: 0.95, top_k: 20, min_p: 0, repetition_penalty: 1.05 }),
      "tokenizer_config.json": config,
    }));
    // 0 from the tokenizer, 2 from config.json and from the template's end of turn, 7 and 9 from the generation config.
    expect(assistant.stopTokens).toEqual([0, 2, 7, 9]);
    expect(assistant.defaults).toEqual({ temperature: 0.6, topP: 0.95, topK: 20, minP: 0, repetitionPenalty: 1.05 });
  });

  it("finds the end-of-turn token in the template alone", async () => {
    const config = tokenizerConfig();
    config["eos_token"] = { content: "<|endoftext|>", special: true };
    const modelConfig = JSON.parse(readFileSync(join(model, "config.json"), "utf8")) as Record<string, unknown>;
    const assistant = await openAssistant(await variant("turn", { "generation_config.json": undefined, "tokenizer_config.json": config, "config.json": { ...modelConfig, eos_token_id: 0 } }));
    expect(assistant.stopTokens).toEqual([0, 2]);
  });

  it("prefers chat_template.jinja and hands it tools, extra variables and special tokens", async () => {
    const template = "{{ bos_token }}|{% if tools is not none %}{{ tools | length }}{% else %}none{% endif %}|{{ enable_thinking }}|{{ messages[0]['content'] }}";
    const assistant = await openAssistant(await variant("jinja", { "chat_template.jinja": template }));
    const messages = [{ role: "user", content: "hi" }];
    expect(assistant.template?.render({ messages, addGenerationPrompt: true, variables: { enable_thinking: false } })).toBe("<|im_start|>|none|false|hi");
    expect(assistant.template?.render({ messages, tools: [{ type: "function" }], addGenerationPrompt: true, variables: { enable_thinking: true } })).toBe("<|im_start|>|1|true|hi");
  });

  it("uses the template named tool_use when there are tools", async () => {
    const config = tokenizerConfig();
    config["chat_template"] = [{ name: "default", template: "plain" }, { name: "tool_use", template: "with tools" }];
    const assistant = await openAssistant(await variant("named", { "tokenizer_config.json": config }));
    expect(assistant.template?.render({ messages: [], addGenerationPrompt: true })).toBe("plain");
    expect(assistant.template?.render({ messages: [], tools: [{}], addGenerationPrompt: true })).toBe("with tools");
  });

  it("gives a tool call's arguments to the template as a value, not as quoted JSON", async () => {
    const assistant = await openAssistant(await variant("calls", { "chat_template.jinja": "{{ messages[0].tool_calls[0].function.arguments | tojson }}" }));
    const call = (text: string): ChatMessage => ({ role: "assistant", content: null, tool_calls: [{ type: "function", function: { name: "f", arguments: text } }] });
    expect(assistant.template?.render({ messages: [call('{"a": 1}')], addGenerationPrompt: false })).toBe('{"a": 1}');
    expect(assistant.template?.render({ messages: [call("not json")], addGenerationPrompt: false })).toBe('"not json"');
  });

  it("reports what the template refuses as an invalid value of messages", async () => {
    const assistant = await openAssistant(await variant("refuses", { "chat_template.jinja": "{% if messages[0].role != 'user' %}{{ raise_exception('Conversation roles must alternate') }}{% endif %}ok" }));
    expect(() => assistant.template?.render({ messages: [{ role: "assistant", content: "x" }], addGenerationPrompt: true }))
      .toThrow(expect.objectContaining({ code: "invalid_value", param: "messages", message: expect.stringContaining("Conversation roles must alternate") as string }));
    expect(() => assistant.template?.render({ messages: [{ role: "user", content: "x" }], addGenerationPrompt: true, variables: { messages: [] } }))
      .toThrow(expect.objectContaining({ code: "invalid_value", param: "chat_template_kwargs.messages" }));
  });

  it("opens a model without a template for plain completions", async () => {
    const config = tokenizerConfig();
    delete config["chat_template"];
    const assistant = await openAssistant(await variant("base", { "tokenizer_config.json": config }));
    expect(assistant.template).toBeUndefined();
    expect(assistant.stopTokens).toEqual([2]);
  });

  it.each([
    ["a template that does not parse", { "chat_template.jinja": "{% if %}" }, "model_unsupported", "chat_template.jinja"],
    ["a tokenizer that is absent", { "tokenizer.json": undefined }, "model_unreadable", "tokenizer.json"],
    ["a tokenizer that is not JSON", { "tokenizer.json": "{" }, "model_corrupt", "tokenizer.json"],
    ["a tokenizer of an unknown kind", { "tokenizer.json": { model: { type: "WordPiece" }, decoder: { type: "WordPiece", prefix: "##" } } }, "model_unsupported", "WordPiece"],
    ["a generation config with a bad value", { "generation_config.json": { top_p: "high" } }, "model_corrupt", "top_p"],
  ])("refuses %s", async (name, files, code, says) => {
    await expect(openAssistant(await variant(`bad ${name}`, files))).rejects.toMatchObject({ code, message: expect.stringContaining(says) as string });
  });
});
