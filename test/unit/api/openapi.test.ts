import { Ajv2020 } from "ajv/dist/2020.js";
import { beforeAll, describe, expect, it } from "vitest";
import type { ServedModel } from "../../../src/api/served-model.js";
import { frontDoor, saying, ScriptedGenerator, smolModel, userSays } from "./support.js";

interface Document { openapi: string; info: { version: string }; paths: Record<string, Record<string, { requestBody?: { content: Record<string, { schema: Record<string, unknown> }> } }>> }

let model: ServedModel;
let document: Document;
beforeAll(async () => {
  model = await smolModel();
  document = (await frontDoor(model, new ScriptedGenerator(saying([])), {}, { version: "1.2.3" }).inject({ url: "/openapi.json" })).json();
});

describe("/openapi.json", () => {
  it("describes every route that is there, and no other", async () => {
    const admin = { keyId: "k", name: "admin", scopes: ["admin"], limits: {} } as const;
    const server = frontDoor(model, new ScriptedGenerator(saying([])), { keys: { find: () => admin } });
    await server.ready();
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const method of Object.keys(methods)) {
        const url = path === "/v1/models/{id}" ? "/v1/models/*" : path.replaceAll(/\{(\w+)\}/gu, ":$1");
        expect(server.hasRoute({ url, method: method.toUpperCase() }), `${method} ${path}`).toBe(true);
      }
    }
    // A method that is refused answers 405: what does not is a route, and must be described.
    const known = Object.keys(document.paths).map((path) => path.replaceAll(/\{\w+\}/gu, "x"));
    expect([document.openapi, document.info.version]).toEqual(["3.1.0", "1.2.3"]);
    for (const url of known) {
      for (const method of ["GET", "POST", "DELETE"] as const) {
        const described = method.toLowerCase() in (document.paths[Object.keys(document.paths)[known.indexOf(url)]!] ?? {});
        const { statusCode } = await server.inject({ method, url, headers: { "x-api-key": "admin" }, ...(method === "POST" && { payload: {} }) });
        expect(statusCode === 405, `${method} ${url}`).toBe(!described);
      }
    }
  });

  it("has JSON schemas that accept what the server accepts, and refuse what it refuses", () => {
    const { schema } = document.paths["/v1/chat/completions"]!["post"]!.requestBody!.content["application/json"]!;
    const validate = new Ajv2020({ strict: false }).compile(schema);
    expect(validate(userSays("Hi", { temperature: 1, stop: ["a"] }))).toBe(true);
    expect(validate(userSays("Hi", { temperature: "hot" }))).toBe(false);
    expect(validate(userSays("Hi", { temprature: 1 }))).toBe(false);
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const { requestBody } of Object.values(methods)) if (requestBody) expect(() => new Ajv2020({ strict: false }).compile(requestBody.content["application/json"]!.schema), path).not.toThrow();
    }
  });
});
