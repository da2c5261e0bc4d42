import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { errorsDoc, grpcNamesOf } from "../../../scripts/gen-errors-doc.mjs";
import { catalogue, GrpcStatus } from "../../../src/core/errors.js";

describe("docs/ERRORS.md", () => {
  it("is what the catalogue says (else: npm run build && node scripts/gen-errors-doc.mjs)", () => {
    const written = readFileSync(new URL("../../../docs/ERRORS.md", import.meta.url), "utf8");
    expect(written).toBe(errorsDoc(catalogue, grpcNamesOf(GrpcStatus)));
  });

  it("gives every code a meaning, a remedy, and a status that fits its type", () => {
    const statusOf: Record<string, (http: number) => boolean> = {
      invalid_request_error: (http) => http >= 400 && http < 500,
      not_found_error: (http) => http === 404,
      rate_limit_error: (http) => http === 429,
      authentication_error: (http) => http === 401,
      permission_error: (http) => http === 403,
      server_error: (http) => http >= 500 || http === 409,
    };
    for (const [code, { http, type, meaning, remedy }] of Object.entries(catalogue)) {
      expect(statusOf[type]!(http), code).toBe(true);
      expect(meaning, code).not.toBe("");
      expect(remedy, code).not.toBe("");
    }
  });
});
