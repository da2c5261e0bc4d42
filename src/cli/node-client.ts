/**
 * A node's HTTP API as the commands use it. This machine's own node is asked over its home's socket, where no key is needed;
 * another one by `--url` with a key. Errors come back as ours again.
 */
import { existsSync } from "node:fs";
import { type IncomingMessage, type RequestOptions, request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { homeSocket } from "../api/home-socket.js";
import { timeoutSignal } from "../core/clock.js";
import { MinidError, isErrorCode } from "../core/errors.js";
import { isAlive } from "../core/process-identity.js";
import { readRunFile } from "../core/run-file.js";
import { homeDirectory } from "../daemon/config/load.js";
import { localAgentUrl, stringArg } from "./common.js";

/** Of every command that can ask another node. */
export const nodeArgs = {
  url: { type: "string", description: "Another node's HTTP address, like http://mini2.local:8100 (default: this home's node)", valueHint: "URL" },
  key: { type: "string", description: "API key for it (default: $MINID_API_KEY)", valueHint: "KEY", alias: "api-key" },
} as const;

const timeoutDefaultMs = 5_000;

export interface Reply {
  readonly status: number;
  /** Parsed; undefined when it is not JSON. */
  readonly body: unknown;
}

export interface CallOptions { readonly signal?: AbortSignal; readonly timeoutMs?: number; readonly body?: object }

export class NodeClient {
  /** For messages. */
  readonly name: string;
  /** Without a slash at the end. */
  readonly #base: string;
  readonly #connection: RequestOptions;
  readonly #key: string | undefined;
  /** Of this machine's own node. */
  readonly #home: string | undefined;

  private constructor(name: string, base: string, connection: RequestOptions, key: string | undefined, home?: string) {
    if (!/^https?:\/\//u.test(base) || !URL.canParse(base)) throw new MinidError("usage", `--url ${JSON.stringify(base)} is not an address like http://mini2.local:8100`);
    this.name = name;
    this.#base = base.replace(/\/+$/u, "");
    this.#connection = connection;
    this.#key = key;
    this.#home = home;
  }

  static at(url: string, key: string | undefined): NodeClient { return new NodeClient(url, url, {}, key); }

  /** The node of a home; over the loopback where its socket is not ours to open. */
  static ofHome(home: string, key?: string): NodeClient {
    const socketPath = homeSocket(home);
    if (existsSync(socketPath)) return new NodeClient(socketPath, "http://localhost", { socketPath }, undefined, home);
    const url = localAgentUrl(home);
    return new NodeClient(url, url, {}, key, home);
  }

  static fromArgs(args: Readonly<Record<string, unknown>>): NodeClient {
    const [url, key] = [stringArg(args, "url"), stringArg(args, "key") ?? process.env["MINID_API_KEY"]];
    return url === undefined ? NodeClient.ofHome(homeDirectory(stringArg(args, "home"), process.env), key) : NodeClient.at(url, key);
  }

  /** @throws MinidError not_running when nobody answers. */
  async call(method: "GET" | "POST", path: string, { signal, timeoutMs = timeoutDefaultMs, body }: CallOptions = {}): Promise<Reply> {
    try {
      const response = await this.#send(method, path, timeoutSignal(timeoutMs, signal), body);
      return { status: response.statusCode ?? 0, body: parsed(await text(response)) };
    } catch (error) {
      signal?.throwIfAborted();
      throw this.#unreachable(error);
    }
  }

  /** The bytes of an answer as they come, for as long as they come. @throws MinidError what the node answered instead; not_running */
  async stream(path: string, body: object | undefined, signal: AbortSignal): Promise<AsyncIterable<Buffer>> {
    let response: IncomingMessage;
    try {
      response = await this.#send(body === undefined ? "GET" : "POST", path, signal, body);
    } catch (error) {
      signal.throwIfAborted();
      throw this.#unreachable(error);
    }
    if (response.statusCode === 200) return response;
    throw errorOf(parsed(await text(response)), `${this.name}${path} answered with HTTP ${response.statusCode}`);
  }

  /** The same, line by line. */
  async* lines(path: string, signal: AbortSignal): AsyncGenerator<string> {
    yield* createInterface({ input: Readable.from(await this.stream(path, undefined, signal)), crlfDelay: Infinity });
  }

  #send(method: "GET" | "POST", path: string, signal: AbortSignal, body: object | undefined): Promise<IncomingMessage> {
    const send = this.#base.startsWith("https:") ? httpsRequest : httpRequest;
    const headers = { ...(this.#key !== undefined && { authorization: `Bearer ${this.#key}` }), ...(body && { "content-type": "application/json" }) };
    return new Promise((resolve, reject) => {
      const call = send(new URL(this.#base + path), { ...this.#connection, method, headers, signal, agent: false }, resolve);
      call.on("error", reject);
      call.end(body && JSON.stringify(body));
    });
  }

  #unreachable(error: unknown): MinidError {
    const pm2 = this.#home === undefined ? undefined : readRunFile(this.#home, "pm2");
    const remedy = pm2 && isAlive(pm2) ? "minid runs here, but its agent does not answer: `minid doctor` says why" : "start minid on that machine with: minid up";
    return new MinidError("not_running", `no answer at ${this.name} (${error instanceof Error ? error.message : String(error)}): ${remedy}`, { cause: error });
  }

  /** The body of an answer that is no error. @param also statuses besides 200 whose body is an answer. */
  async json(method: "GET" | "POST", path: string, options: CallOptions = {}, also: readonly number[] = []): Promise<unknown> {
    const { status, body } = await this.call(method, path, options);
    if (status === 200 || also.includes(status)) return body;
    throw errorOf(body, `${this.name}${path} answered with HTTP ${status}`);
  }
}

function parsed(content: string): unknown {
  try { return JSON.parse(content); } catch { return undefined; }
}

/** An error object of the API as the error that it was. */
export function errorOf(body: unknown, otherwise: string): MinidError {
  const { code, message } = (body as { readonly error?: { readonly code?: unknown; readonly message?: unknown } } | undefined)?.error ?? {};
  return new MinidError(typeof code === "string" && isErrorCode(code) ? code : "internal_error", typeof message === "string" ? message : otherwise);
}
