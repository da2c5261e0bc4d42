/**
 * OpenTelemetry traces, off unless `otlp_endpoint` is set: a request at the front door, the steps of the ring that gave it tokens, and
 * in each step the ranks and the hops between them. Sent as OTLP over HTTP with JSON. The context travels as a W3C `traceparent`: from
 * the client's header, with the sequence to rank 0. No prompt, text or key is ever an attribute.
 *
 * Where the parts of a step lie in time is put together from durations, which is all that the ranks tell: clocks of machines differ.
 * The SDK is loaded only when traces are wanted, and a collector that is away costs spans and nothing else.
 */
import type { Span, SpanContext, Tracer } from "@opentelemetry/api";
import type { Clock } from "../../core/clock.js";
import type { Log } from "../../core/log.js";
import type { Recovery } from "../inference/resume.js";
import type { StepSeen } from "./vitals.js";

export interface RequestBegun { readonly endpoint: string; readonly requestId: string; readonly traceparent: string | undefined }

export interface Tracing {
  /** @returns the context to send along; undefined when this request is not traced. */
  begin(request: RequestBegun): string | undefined;
  firstToken(requestId: string): void;
  recovered(recovery: Recovery, requestId: string): void;
  finish(outcome: { readonly requestId: string; readonly code: string; readonly promptTokens: number; readonly completionTokens: number }): void;
  /** @param traces contexts of the sequences that got a token by it. */
  step(step: StepSeen, traces: readonly string[]): void;
  /** Sends what is there. */
  stop(): Promise<void>;
}

export interface TracingOptions {
  /** The collector, `http://localhost:4318`; spans go to `/v1/traces` there. */
  readonly endpoint: string;
  /** Share of the requests without a context of their own that are traced. */
  readonly sampleRatio: number;
  readonly deviceId: string;
  readonly version: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** Steps of one sequence that become spans of their own. */
const stepsMax = 256;
/** Requests and sequences remembered at once. */
const openMax = 4_096;
const complainEveryMs = 60_000;

export async function startTracing(options: TracingOptions): Promise<Tracing> {
  const [{ ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, isSpanContextValid, trace }, { BasicTracerProvider, BatchSpanProcessor, ParentBasedSampler, TraceIdRatioBasedSampler }, { OTLPTraceExporter }, { resourceFromAttributes }] =
    await Promise.all([import("@opentelemetry/api"), import("@opentelemetry/sdk-trace-base"), import("@opentelemetry/exporter-trace-otlp-http"), import("@opentelemetry/resources")]);
  const { clock, log } = options;
  const exporter = new OTLPTraceExporter({ url: `${options.endpoint.replace(/\/+$/u, "")}/v1/traces`, timeoutMillis: 5_000 });
  let complainedAt = -Infinity;
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes({ "service.name": "minid", "service.version": options.version, "service.instance.id": options.deviceId }),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(options.sampleRatio) }),
    spanProcessors: [new BatchSpanProcessor({
      export: (spans, done) => exporter.export(spans, (result) => {
        if (result.error !== undefined && clock.now() - complainedAt > complainEveryMs) {
          complainedAt = clock.now();
          log.warn({ endpoint: options.endpoint, reason: result.error.message }, "traces could not be delivered");
        }
        done(result);
      }),
      shutdown: () => exporter.shutdown(),
    }, { maxQueueSize: 4_096, scheduledDelayMillis: 1_000 })],
  });
  const tracer: Tracer = provider.getTracer("minid", options.version);
  const requests = new Map<string, Span>();
  const stepsOf = new Map<string, number>();

  const parentOf = (traceparent: string | undefined) => {
    const context = parse(traceparent);
    return context && isSpanContextValid(context) ? trace.setSpanContext(ROOT_CONTEXT, context) : ROOT_CONTEXT;
  };
  const child = (name: string, parent: Span, startMs: number, endMs: number, attributes: Record<string, string | number>): Span => {
    const span = tracer.startSpan(name, { startTime: startMs, attributes }, trace.setSpan(ROOT_CONTEXT, parent));
    span.end(endMs);
    return span;
  };

  return {
    begin({ endpoint, requestId, traceparent }) {
      const span = tracer.startSpan(endpoint, { kind: SpanKind.SERVER, startTime: clock.wallMs(), attributes: { "minid.request_id": requestId, "minid.device_id": options.deviceId } }, parentOf(traceparent));
      if (!span.isRecording()) return undefined;
      remember(requests, requestId, span);
      return format(span.spanContext());
    },
    firstToken(requestId) { requests.get(requestId)?.addEvent("first token", clock.wallMs()); },
    recovered(recovery, requestId) {
      const span = requests.get(requestId);
      if (!span) return;
      const { cause, detectMs, waitMs, replayMs, replayedTokens, attempts } = recovery;
      const end = clock.wallMs();
      child("moved on", span, end - detectMs - waitMs - replayMs, end, { "minid.cause": cause, "minid.detect_ms": detectMs, "minid.wait_ms": waitMs, "minid.replay_ms": replayMs, "minid.replayed_tokens": replayedTokens, "minid.attempts": attempts });
    },
    finish({ requestId, code, promptTokens, completionTokens }) {
      const span = requests.get(requestId);
      requests.delete(requestId);
      if (!span) return;
      span.setAttributes({ "minid.code": code, "gen_ai.usage.input_tokens": promptTokens, "gen_ai.usage.output_tokens": completionTokens });
      if (code !== "ok") span.setStatus({ code: SpanStatusCode.ERROR, message: code });
      span.end(clock.wallMs());
    },
    step(step, traces) {
      const end = clock.wallMs();
      for (const traceparent of traces) {
        const count = (stepsOf.get(traceparent) ?? 0) + 1;
        remember(stepsOf, traceparent, count);
        if (count > stepsMax || ((parse(traceparent)?.traceFlags ?? 0) & TraceFlags.SAMPLED) === 0) continue;
        const start = end - step.durationMs;
        const span = tracer.startSpan("step", { startTime: start, attributes: { "minid.step": count, "minid.sequences": traces.length, "minid.world_size": step.worldSize } }, parentOf(traceparent));
        for (const part of partsOf(step)) child(part.name, span, start + part.from, start + part.to, { "minid.rank": part.rank });
        span.end(end);
      }
    },
    stop: () => provider.shutdown(),
  };
}

interface Part { readonly name: string; readonly rank: number; readonly from: number; readonly to: number }

/** In milliseconds from the step's start: rank 0, then for each further rank the hop to it and its own time, then the hop home. */
export function partsOf({ computeMs, ringMs, times, worldSize, durationMs }: StepSeen): Part[] {
  const within = (ms: number): number => Math.min(durationMs, Math.max(0, ms));
  if (worldSize < 2 || times.length !== worldSize - 1) return [{ name: "compute", rank: 0, from: 0, to: within(computeMs) }];
  const hop = Math.max(0, ringMs - times.reduce((sum, { heldMs }) => sum + heldMs, 0)) / worldSize;
  let at = within(durationMs - ringMs);
  const parts: Part[] = [{ name: "compute", rank: 0, from: 0, to: at }];
  const add = (name: string, rank: number, ms: number): void => {
    parts.push({ name, rank, from: at, to: within(at + ms) });
    at = within(at + ms);
  };
  for (const { rank, heldMs } of times) {
    add("hop", rank, hop);
    add("compute", rank, heldMs);
  }
  add("hop", 0, hop);
  return parts;
}

/** https://www.w3.org/TR/trace-context/#traceparent-header */
export function parse(traceparent: string | undefined): SpanContext | undefined {
  const [, traceId, spanId, flags] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/u.exec(traceparent ?? "") ?? [];
  return traceId === undefined || spanId === undefined || flags === undefined ? undefined : { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1, isRemote: true };
}

const format = ({ traceId, spanId, traceFlags }: SpanContext): string => `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`;

/** The oldest gives way. */
function remember<V>(map: Map<string, V>, key: string, value: V): void {
  map.set(key, value);
  if (map.size <= openMax) return;
  for (const oldest of map.keys()) { map.delete(oldest); return; }
}
