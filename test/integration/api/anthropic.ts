/** Anthropic's own client, unmodified, against a real node. */
import Anthropic, { APIUserAbortError, BadRequestError, NotFoundError, RateLimitError } from "@anthropic-ai/sdk";
import { describe, expect, it } from "vitest";
import { citySchema, crowd, hi, idle, isCity, type Served, weatherSchema } from "./node.js";

export function anthropicClient(served: Served): void {
  const client = (options: object = {}) => new Anthropic({ baseURL: served().node.url, apiKey: "none", maxRetries: 0, ...options });
  const tools = [{ name: "get_weather", description: "Weather of a city", input_schema: { ...weatherSchema, required: [...weatherSchema.required] } }];

  describe("@anthropic-ai/sdk", () => {
    it("gets a message, whole and streaming, with the same words", async () => {
      const ask = { model: served().model, max_tokens: 12, temperature: 0, messages: hi };
      const whole = await client().messages.create(ask);
      const streamed = await client().messages.stream(ask).finalMessage();
      expect(streamed.content).toEqual(whole.content);
      expect(streamed.usage.output_tokens).toBe(whole.usage.output_tokens);
    });

    it("goes through a tool use and back", async () => {
      const ask = { model: served().model, max_tokens: 60, temperature: 0, tools, messages: [{ role: "user" as const, content: "What is the weather in Paris?" }] };
      const first = await client().messages.stream({ ...ask, tool_choice: { type: "tool", name: "get_weather" } }).finalMessage();
      const use = first.content.find((block) => block.type === "tool_use")!;
      expect([first.stop_reason, use.name, use.input]).toEqual(["tool_use", "get_weather", { city: expect.any(String) as string }]);
      const back = await client().messages.create({ ...ask, max_tokens: 12, messages: [...ask.messages, { role: "assistant", content: first.content }, { role: "user", content: [{ type: "tool_result", tool_use_id: use.id, content: "sunny" }] }] });
      expect(back.content).toMatchObject([{ type: "text" }]);
    });

    it("parses structured output", async () => {
      const message = await client().messages.create({ model: served().model, max_tokens: 80, messages: [{ role: "user", content: "The weather in Rome as JSON." }], output_config: { format: { type: "json_schema", schema: { ...citySchema } } } });
      const [block] = message.content;
      expect(block!.type === "text" && isCity(JSON.parse(block.text))).toBe(true);
    });

    it("meets its own exception classes, 429 of a full node included", async () => {
      const { model } = served();
      const ask = { model, max_tokens: 4, messages: hi };
      await expect(client().messages.create({ ...ask, model: "none" })).rejects.toBeInstanceOf(NotFoundError);
      const hot = { ...ask, temperature: 1.5 };
      await expect(client().messages.create(hot)).rejects.toMatchObject({ constructor: BadRequestError, error: { error: { type: "invalid_request_error" } } });
      const leave = await crowd(served());
      try { await expect(client().messages.create(ask)).rejects.toBeInstanceOf(RateLimitError); } finally { await leave(); }
    });

    it("counts tokens as the message does, and stops the answer when it aborts", async () => {
      const { node, model } = served();
      const { input_tokens: counted } = await client().messages.countTokens({ model, messages: hi });
      const stream = client().messages.stream({ model, messages: hi, max_tokens: 2_000 });
      let promptTokens = 0;
      stream.on("streamEvent", (event) => { if (event.type === "message_start") promptTokens = event.message.usage.input_tokens + (event.message.usage.cache_read_input_tokens ?? 0); });
      stream.on("text", () => { stream.abort(); });
      await expect(stream.finalMessage()).rejects.toBeInstanceOf(APIUserAbortError);
      expect(promptTokens).toBe(counted);
      await idle(node);
    });
  });
}
