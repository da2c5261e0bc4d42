/** OpenAI's own client, unmodified, against a real node. */
import OpenAI, { APIUserAbortError, BadRequestError, NotFoundError, RateLimitError } from "openai";
import { describe, expect, it } from "vitest";
import { citySchema, crowd, hi, idle, isCity, type Served, weatherSchema } from "./node.js";

export function openAiClient(served: Served): void {
  const client = (options: object = {}) => new OpenAI({ baseURL: `${served().node.url}/v1`, apiKey: "none", maxRetries: 0, ...options });
  const tools = [{ type: "function" as const, function: { name: "get_weather", description: "Weather of a city", parameters: { ...weatherSchema } } }];

  describe("openai", () => {
    it("chats, whole and streaming, with the same words", async () => {
      const { model } = served();
      const ask = { model, messages: hi, max_tokens: 12, temperature: 0 };
      const whole = await client().chat.completions.create(ask);
      let text = "";
      let usage: OpenAI.CompletionUsage | null | undefined;
      for await (const chunk of await client().chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } })) {
        text += chunk.choices[0]?.delta.content ?? "";
        usage = chunk.usage ?? usage;
      }
      expect(text).toBe(whole.choices[0]!.message.content);
      expect(text).not.toBe("");
      expect(usage).toMatchObject({ prompt_tokens: whole.usage!.prompt_tokens, completion_tokens: whole.usage!.completion_tokens });
      expect(whole.system_fingerprint).toMatch(/^minid-/u);
    });

    it("goes through a tool call and back", async () => {
      const { model } = served();
      const ask = { model, tools, temperature: 0, max_tokens: 60, messages: [{ role: "user" as const, content: "What is the weather in Paris?" }] };
      const { choices: [called] } = await client().chat.completions.stream({ ...ask, tool_choice: "required", parallel_tool_calls: false }).finalChatCompletion();
      const call = called!.message.tool_calls![0]!;
      expect([called!.finish_reason, call.type === "function" && call.function.name]).toEqual(["tool_calls", "get_weather"]);
      expect(JSON.parse(call.type === "function" ? call.function.arguments : "")).toEqual({ city: expect.any(String) as string });
      const back = await client().chat.completions.create({ ...ask, max_tokens: 12, messages: [...ask.messages, called!.message, { role: "tool", tool_call_id: call.id, content: "sunny, 21 degrees" }] });
      expect(back.choices[0]!.message.content).not.toBe("");
    });

    it("parses structured output, at any temperature", async () => {
      const answer = await client().chat.completions.parse({ model: served().model, messages: [{ role: "user", content: "The weather in Rome as JSON." }], temperature: 1, seed: 3, max_tokens: 80, response_format: { type: "json_schema", json_schema: { name: "weather", strict: true, schema: citySchema } } });
      expect(isCity(JSON.parse(answer.choices[0]!.message.content!))).toBe(true);
    });

    it("meets its own exception classes", async () => {
      const { model } = served();
      const chat = (body: object) => client().chat.completions.create({ model, messages: hi, ...body } as OpenAI.ChatCompletionCreateParamsNonStreaming);
      await expect(chat({ model: "none" })).rejects.toMatchObject({ constructor: NotFoundError, status: 404, code: "model_not_found", param: "model" });
      await expect(chat({ temperature: 9 })).rejects.toMatchObject({ constructor: BadRequestError, param: "temperature" });
      await expect(client().models.retrieve("none")).rejects.toBeInstanceOf(NotFoundError);
    });

    it("is told 429 by a full node, and gets through when it tries again", async () => {
      const { node, model } = served();
      const leave = await crowd(served());
      try {
        await expect(client().chat.completions.create({ model, messages: hi, max_tokens: 2 })).rejects.toMatchObject({ constructor: RateLimitError, code: "queue_full" });
        let refusals = 0;
        const watching = async (url: string | URL | Request, init?: RequestInit) => {
          const response = await fetch(url, init);
          if (response.status === 429) {
            expect(Number(response.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
            refusals += 1;
            await leave();
          }
          return response;
        };
        const answer = await client({ maxRetries: 2, fetch: watching }).chat.completions.create({ model, messages: hi, max_tokens: 2 });
        expect([refusals, answer.choices.length]).toEqual([1, 1]);
      } finally { await leave(); }
      await idle(node);
    });

    it("stops the answer when it aborts", async () => {
      const { node, model } = served();
      const stream = client().chat.completions.stream({ model, messages: hi, max_tokens: 2_000 });
      stream.on("content", () => { stream.abort(); });
      await expect(stream.finalChatCompletion()).rejects.toBeInstanceOf(APIUserAbortError);
      await idle(node);
    });

    it("makes responses, streaming, and goes on with them", async () => {
      const { model } = served();
      const first = await client().responses.stream({ model, input: "What is the capital of France?", max_output_tokens: 24, temperature: 0 }).finalResponse();
      expect(first.output).toMatchObject([{ type: "message", content: [{ type: "output_text", text: "The capital of France is Paris." }] }]);
      const second = await client().responses.create({ model, input: "And of Spain?", previous_response_id: first.id, max_output_tokens: 8, temperature: 0 });
      expect(second.output_text).not.toBe("");
      expect(second.usage!.input_tokens).toBeGreaterThan(first.usage!.input_tokens + first.usage!.output_tokens);
      await client().responses.delete(first.id);
      await expect(client().responses.retrieve(first.id)).rejects.toBeInstanceOf(NotFoundError);
    });

    it("embeds, as numbers and as base64", async () => {
      const { model } = served();
      // The client asks for base64 by itself unless it is told otherwise.
      const encoded = await client().embeddings.create({ model, input: ["one text", "another one"] });
      const plain = await client().embeddings.create({ model, input: ["one text", "another one"], encoding_format: "float" });
      expect(encoded.data.map(({ embedding }) => embedding)).toEqual(plain.data.map(({ embedding }) => embedding));
      expect(plain.data[0]!.embedding.reduce((sum, value) => sum + value * value, 0)).toBeCloseTo(1, 5);
      expect((await client().embeddings.create({ model, input: "one text", dimensions: 64, encoding_format: "float" })).data[0]!.embedding).toHaveLength(64);
    });
  });
}
