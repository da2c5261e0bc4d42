/**
 * A model hub on the loopback: the two addresses of Hugging Face's that `minid pull` uses, over a directory of files, with its
 * redirect to another host for large files. Faults can be ordered, each for the next request of a file.
 */
import { createHash } from "node:crypto";
import { createReadStream, readFileSync, readdirSync, statSync } from "node:fs";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { join } from "node:path";

export type Fault =
  /** Sends this many bytes of what was asked for, then breaks the connection off. */
  | { readonly kind: "cut"; readonly afterBytes: number }
  /** Sends headers and nothing more. */
  | { readonly kind: "stall" }
  | { readonly kind: "status"; readonly status: number }
  /** Sends other bytes than the list promises. */
  | { readonly kind: "corrupt" }
  /** Answers a range with the whole file. */
  | { readonly kind: "ignoreRange" };

export interface HubRequest { readonly path: string; readonly range: string | undefined; readonly authorization: string | undefined; readonly host: string }

export class Hub {
  readonly requests: HubRequest[] = [];
  readonly commit = "c0ffee".padEnd(40, "0");
  readonly #faults = new Map<string, Fault[]>();
  readonly #servers: Server[] = [];
  #repository: { readonly id: string; readonly directory: string };
  #token: string | undefined;
  #cdnPort = 0;

  private constructor(id: string, directory: string) { this.#repository = { id, directory }; }

  /** @param id `org/name`. @param directory whose files the repository holds. */
  static async start(id: string, directory: string): Promise<Hub> {
    const hub = new Hub(id, directory);
    for (const handler of [(request: IncomingMessage, response: ServerResponse) => { hub.#hub(request, response); }, (request: IncomingMessage, response: ServerResponse) => { hub.#cdn(request, response); }]) {
      const server = createServer(handler);
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      hub.#servers.push(server);
    }
    hub.#cdnPort = hub.#port(1);
    return hub;
  }

  get url(): string { return `http://127.0.0.1:${this.#port(0)}`; }

  /** From now on nothing is given without it. */
  requireToken(token: string): void { this.#token = token; }

  order(file: string, ...faults: Fault[]): void { this.#faults.set(file, [...(this.#faults.get(file) ?? []), ...faults]); }

  async stop(): Promise<void> {
    await Promise.all(this.#servers.map(async (server) => { server.closeAllConnections(); server.close(); await once(server, "close"); }));
  }

  #port(index: number): number { return (this.#servers[index]!.address() as { port: number }).port; }

  #note(request: IncomingMessage): string {
    const { url: path = "", headers: { range, authorization, host = "" } } = request;
    this.requests.push({ path, range, authorization, host });
    return path;
  }

  #hub(request: IncomingMessage, response: ServerResponse): void {
    const path = this.#note(request);
    const { id, directory } = this.#repository;
    if (this.#token !== undefined && request.headers.authorization !== `Bearer ${this.#token}`) { response.writeHead(401).end(); return; }
    if (path === `/api/models/${id}/revision/main?blobs=true`) { response.setHeader("content-type", "application/json").end(JSON.stringify(this.#listing())); return; }
    const file = new RegExp(`^/${id}/resolve/${this.commit}/([^/]+)$`, "u").exec(path)?.[1];
    if (file === undefined || !readdirSync(directory).includes(file)) { response.writeHead(404).end(); return; }
    // Large files come from elsewhere, as on the real hub.
    if (this.#isLarge(file)) { response.writeHead(302, { location: `http://localhost:${this.#cdnPort}/${file}` }).end(); return; }
    this.#send(file, request, response);
  }

  #cdn(request: IncomingMessage, response: ServerResponse): void { this.#send(this.#note(request).slice(1), request, response); }

  #send(file: string, request: IncomingMessage, response: ServerResponse): void {
    const path = join(this.#repository.directory, file);
    const { size } = statSync(path);
    const [fault, ...later] = this.#faults.get(file) ?? [];
    this.#faults.set(file, later);
    if (fault?.kind === "status") { response.writeHead(fault.status).end(); return; }
    const asked = /^bytes=(\d+)-$/u.exec(request.headers.range ?? "")?.[1];
    const from = asked === undefined || fault?.kind === "ignoreRange" ? 0 : Number(asked);
    response.writeHead(from > 0 ? 206 : 200, { "content-length": size - from, ...(from > 0 && { "content-range": `bytes ${from}-${size - 1}/${size}` }) });
    if (fault?.kind === "stall") { response.flushHeaders(); return; }
    if (fault?.kind === "corrupt") { response.end(Buffer.alloc(size - from, "x")); return; }
    const source = createReadStream(path, { start: from, ...(fault?.kind === "cut" && { end: from + fault.afterBytes - 1 }) });
    source.pipe(response, { end: fault?.kind !== "cut" });
    if (fault?.kind === "cut") source.on("end", () => { setTimeout(() => { response.destroy(); }, 50); });
  }

  #isLarge(file: string): boolean { return file.endsWith(".safetensors"); }

  #listing(): object {
    const { id, directory } = this.#repository;
    const siblings = readdirSync(directory).map((rfilename) => {
      const content = readFileSync(join(directory, rfilename));
      const blobId = createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
      return { rfilename, size: content.length, blobId, ...(this.#isLarge(rfilename) && { lfs: { sha256: createHash("sha256").update(content).digest("hex"), size: content.length, pointerSize: 134 } }) };
    });
    return { id, sha: this.commit, siblings };
  }
}
