// Writes docs/ERRORS.md from the catalogue in src/core/errors.ts (compiled: `npm run build` first). A test keeps the two together.
import { writeFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";

const preamble = `# Errors

Every error that leaves minid has a code of this list. Over HTTP it is OpenAI's error object,

\`\`\`json
{"error": {"message": "…", "type": "invalid_request_error", "param": "messages[0].role", "code": "invalid_value"}}
\`\`\`

(\`/v1/messages\` answers in Anthropic's shape with the same message). \`param\` names the field at fault, or is null. *Retry* says
whether the same request may succeed later, unchanged; it is also sent as \`x-should-retry\`, which OpenAI's and Anthropic's clients
obey. 429 and 503 carry \`Retry-After\` in seconds. Every response has an \`x-request-id\`: the client's own where it sent one.

Once a stream has begun, an error is its last event: \`data: {"error": …}\`, and no \`[DONE]\` follows.

*Made by \`node scripts/gen-errors-doc.mjs\` from src/core/errors.ts: change it there.*
`;

/** @param catalogue code → {http, type, grpc, retryable, meaning, remedy}. @param grpcNames gRPC status → name. */
export function errorsDoc(catalogue, grpcNames) {
  const rows = Object.entries(catalogue).map(([code, { http, type, grpc, retryable, meaning, remedy }]) =>
    `| \`${code}\` | ${http} | ${type} | ${grpcNames.get(grpc) ?? grpc} | ${retryable ? "yes" : "no"} | ${meaning} | ${remedy} |`);
  return `${preamble}
| Code | HTTP | Type | gRPC | Retry | What happened | What to do |
|---|---|---|---|---|---|---|
${rows.join("\n")}
`;
}

/** `{notFound: 5}` → `5 → NOT_FOUND` */
export const grpcNamesOf = (status) =>
  new Map(Object.entries(status).map(([name, value]) => [value, name.replaceAll(/[A-Z]/gu, (letter) => `_${letter}`).toUpperCase()]));

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { catalogue, GrpcStatus } = await import("../dist/core/errors.js");
  writeFileSync(fileURLToPath(new URL("../docs/ERRORS.md", import.meta.url)), errorsDoc(catalogue, grpcNamesOf(GrpcStatus)));
}
