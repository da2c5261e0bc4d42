/**
 * How a model writes tool calls, read off its own chat template: a conversation with a call is rendered, and what stands
 * around the call tells. Nothing here knows a model's name.
 */
import type { ChatTemplate } from "../../model/chat-template.js";
import type { ToolFormatName } from "../output/tool-calls.js";

/** A function that is offered and one that is called: whatever the template does with either can be told apart. */
const offered = "minidofferedtool";
const called = "minidcalledtool";

const probe = {
  messages: [
    { role: "user", content: "question" },
    // Nine letters and digits: Mistral's templates insist.
    { role: "assistant", content: "", tool_calls: [{ id: "abcdefghi", type: "function", function: { name: called, arguments: { a: 1 } } }] },
  ],
  tools: [{ type: "function", function: { name: offered, description: "d", parameters: { type: "object", properties: {} } } }],
  addGenerationPrompt: false,
};

/** @returns undefined when the template leaves tools out or writes calls in a way that is not known here. */
export function toolFormatOf(template: ChatTemplate): ToolFormatName | undefined {
  let text: string;
  try {
    text = template.render(probe);
  } catch {
    return undefined;
  }
  const at = text.lastIndexOf(called);
  if (at < 0 || !text.includes(offered)) return undefined;
  const before = text.slice(0, at);
  const after = text.slice(at);
  if (!/"name"\s*:\s*"$/u.test(before)) return undefined;
  if (/<tool_call>\s*\{\s*"name"\s*:\s*"$/u.test(before)) return "hermes";
  if (/\[TOOL_CALLS\]\s*\[\s*\{.*"name"\s*:\s*"$/su.test(before)) return "mistral";
  if (/^\w+"\s*,\s*"parameters"/u.test(after)) return "llama";
  return undefined;
}
