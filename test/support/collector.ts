/** An OpenTelemetry collector that only remembers: OTLP over HTTP with JSON, on a free port of the loopback. */
import { once } from "node:events";
import { type Server, createServer } from "node:http";

export interface CollectedSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly events: readonly string[];
  readonly failed: boolean;
  /** `service.instance.id` of the process that sent it. */
  readonly from: string;
}

interface Value { readonly stringValue?: string; readonly intValue?: number | string; readonly doubleValue?: number }
interface Attribute { readonly key: string; readonly value: Value }
interface Export {
  readonly resourceSpans: readonly { readonly resource: { readonly attributes: readonly Attribute[] }; readonly scopeSpans: readonly { readonly spans: readonly {
    readonly name: string; readonly traceId: string; readonly spanId: string; readonly parentSpanId?: string; readonly startTimeUnixNano: string; readonly endTimeUnixNano: string;
    readonly attributes?: readonly Attribute[]; readonly events?: readonly { readonly name: string }[]; readonly status?: { readonly code?: number };
  }[] }[] }[];
}

export class Collector {
  readonly spans: CollectedSpan[] = [];
  /** `METHOD path content-type` of what came. */
  readonly requests = new Set<string>();
  readonly endpoint: string;
  readonly #server: Server;

  private constructor(server: Server, endpoint: string) {
    this.#server = server;
    this.endpoint = endpoint;
  }

  static async start(): Promise<Collector> {
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        collector.requests.add(`${request.method} ${request.url} ${request.headers["content-type"]}`);
        collector.#take(JSON.parse(Buffer.concat(chunks).toString()) as Export);
        response.setHeader("content-type", "application/json").end("{}");
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const collector = new Collector(server, `http://127.0.0.1:${(server.address() as { port: number }).port}`);
    return collector;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  #take({ resourceSpans }: Export): void {
    for (const { resource, scopeSpans } of resourceSpans) {
      const from = String(read(resource.attributes)["service.instance.id"]);
      for (const span of scopeSpans.flatMap(({ spans }) => spans)) {
        this.spans.push({
          name: span.name, traceId: span.traceId, spanId: span.spanId, parentSpanId: span.parentSpanId ?? "", startMs: Number(span.startTimeUnixNano) / 1e6, endMs: Number(span.endTimeUnixNano) / 1e6,
          attributes: read(span.attributes ?? []), events: (span.events ?? []).map(({ name }) => name), failed: span.status?.code === 2, from,
        });
      }
    }
  }
}

const read = (attributes: readonly Attribute[]): Record<string, unknown> => Object.fromEntries(attributes.map(({ key, value }) => [key, value.stringValue ?? (value.intValue === undefined ? value.doubleValue : Number(value.intValue))]));
