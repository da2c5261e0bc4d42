/** Vercel's AI SDK with its OpenAI-compatible provider, unmodified, against a real node. */
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embedMany, generateText, jsonSchema, Output, stepCountIs, streamText, tool } from "ai";
import { describe, expect, it } from "vitest";
import { citySchema, crowd, idle, isCity, type Served, weatherSchema } from "./node.js";

export function vercelClient(served: Served): void {
  const provider = (more: { readonly fetch?: typeof fetch } = {}) => createOpenAICompatible({ name: "minid", baseURL: `${served().node.url}/v1`, supportsStructuredOutputs: true, includeUsage: true, ...more });
  const model = () => provider().chatModel(served().model);
  const quiet = { maxRetries: 0, onError: () => undefined };

  describe("ai with @ai-sdk/openai-compatible", () => {
    it("generates and streams the same text, with usage", async () => {
      const ask = { model: model(), prompt: "Say hi.", temperature: 0, maxOutputTokens: 12 };
      const whole = await generateText(ask);
      const stream = streamText(ask);
      let text = "";
      for await (const piece of stream.textStream) text += piece;
      expect(text).toBe(whole.text);
      expect((await stream.usage).outputTokens).toBe(whole.usage.outputTokens);
    });

    it("runs a tool and goes on with its result", async () => {
      const asked: unknown[] = [];
      const weather = tool({ description: "Weather of a city", inputSchema: jsonSchema<{ city: string }>({ ...weatherSchema, required: [...weatherSchema.required] }), execute: (input) => { asked.push(input); return "sunny"; } });
      const { steps, text } = await generateText({
        model: model(), prompt: "What is the weather in Paris?", temperature: 0, maxOutputTokens: 50, tools: { weather }, stopWhen: stepCountIs(2),
        prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? { type: "tool", toolName: "weather" } : "none" }),
      });
      expect(asked).toEqual([{ city: expect.any(String) as string }]);
      expect([steps.length, steps[0]!.finishReason]).toEqual([2, "tool-calls"]);
      expect(text).not.toBe("");
    });

    it("gets structured output", async () => {
      const schema = jsonSchema<{ city: string; degrees: number }>({ ...citySchema, required: [...citySchema.required] });
      const { output } = await generateText({ model: model(), prompt: "The weather in Rome as JSON.", temperature: 1, seed: 3, maxOutputTokens: 80, output: Output.object({ schema }) });
      expect(isCity(output)).toBe(true);
    });

    it("meets its own exception classes, and tries again after 429", async () => {
      const wrong = await generateText({ model: provider().chatModel("none"), prompt: "x", ...quiet }).catch((error: unknown) => error);
      expect(APICallError.isInstance(wrong) && [wrong.statusCode, wrong.isRetryable]).toEqual([404, false]);
      const leave = await crowd(served());
      try {
        const refused = await generateText({ model: model(), prompt: "x", ...quiet }).catch((error: unknown) => error);
        expect(APICallError.isInstance(refused) && [refused.statusCode, refused.isRetryable]).toEqual([429, true]);
        let refusals = 0;
        const watching: typeof fetch = async (url, init) => {
          const response = await fetch(url, init);
          if (response.status === 429) {
            refusals += 1;
            await leave();
          }
          return response;
        };
        const again = await generateText({ model: provider({ fetch: watching }).chatModel(served().model), prompt: "y", maxOutputTokens: 2, maxRetries: 2 });
        expect([refusals, again.usage.outputTokens]).toEqual([1, 2]);
      } finally { await leave(); }
    });

    it("stops the answer when it aborts", async () => {
      const gone = new AbortController();
      const stream = streamText({ model: model(), prompt: "Tell me everything.", maxOutputTokens: 2_000, abortSignal: gone.signal, ...quiet });
      for await (const part of stream.fullStream) {
        if (part.type === "text-delta") gone.abort();
        if (part.type === "abort") break;
      }
      await idle(served().node);
    });

    it("embeds", async () => {
      const { embeddings, usage } = await embedMany({ model: provider().embeddingModel(served().model), values: ["one", "two", "three"] });
      expect(embeddings.map(({ length }) => length)).toEqual([576, 576, 576]);
      expect(usage.tokens).toBeGreaterThan(2);
    });
  });
}
