/**
 * `GET /`: the dashboard, and its parts under `/dashboard/`. Files of the build, read once into memory; they hold no secret and say
 * nothing of the cluster. What the page shows it asks for itself, with a key where one is needed.
 *
 * The page may load and call only this server, run only its own script files, and be framed by nobody.
 */
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { unknownAddress } from "../refusals.js";

const directory = fileURLToPath(new URL("../dashboard/", import.meta.url));

const types: Readonly<Record<string, string>> = { html: "text/html; charset=utf-8", css: "text/css; charset=utf-8", js: "text/javascript; charset=utf-8", svg: "image/svg+xml" };

const headers = {
  "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  // Asked again each time, and answered 304: an upgraded node shows its own page at once.
  "cache-control": "no-cache",
  vary: "accept-encoding",
};

interface Part { readonly type: string; readonly tag: string; readonly plain: Buffer; readonly gzip: Buffer }

export function dashboardRoutes(server: FastifyInstance): void {
  const parts = readParts();
  server.get("/", (request, reply) => send(parts.get("index.html"), request, reply));
  server.get("/favicon.ico", (request, reply) => send(parts.get("icon.svg"), request, reply));
  server.get<{ Params: { file: string } }>("/dashboard/:file", (request, reply) => send(parts.get(request.params.file), request, reply));
}

function readParts(): ReadonlyMap<string, Part> {
  const parts = new Map<string, Part>();
  for (const file of readdirSync(directory)) {
    const type = types[file.slice(file.lastIndexOf(".") + 1)];
    if (type === undefined) continue;
    const plain = readFileSync(directory + file);
    parts.set(file, { type, plain, gzip: gzipSync(plain), tag: `"${createHash("sha256").update(plain).digest("base64url").slice(0, 22)}"` });
  }
  return parts;
}

function send(part: Part | undefined, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (!part) throw unknownAddress(request.method, request.url);
  reply.headers(headers).header("etag", part.tag);
  if (request.headers["if-none-match"] === part.tag) return reply.code(304).send();
  const zipped = /\bgzip\b/u.test(request.headers["accept-encoding"] ?? "");
  if (zipped) reply.header("content-encoding", "gzip");
  return reply.type(part.type).send(zipped ? part.gzip : part.plain);
}
