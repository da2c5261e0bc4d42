/** The Logs service with its types: what proto/agent.proto says, in TypeScript. */
import type grpc from "@grpc/grpc-js";
import { z } from "zod";
import { agentServices } from "../security/rpc.js";
import { type LineLevel, type LogFilter, type LogLine, levels } from "./log-line.js";
import type { LogBatch } from "./tail.js";

export interface TailCall { readonly lines: number; readonly follow: boolean; readonly level: string; readonly requestId: string }
export interface TailLines { readonly json: readonly string[]; readonly live: boolean }

export interface LogsClient extends grpc.Client {
  readonly tail: (call: TailCall, metadata: grpc.Metadata, options: grpc.CallOptions) => grpc.ClientReadableStream<TailLines>;
}

export interface LogQuestion extends LogFilter { readonly lines: number; readonly follow: boolean }

const lineSchema = z.object({ time: z.string(), level: z.enum(levels), process: z.string(), message: z.string(), fields: z.record(z.string(), z.unknown()) });

export const questionToWire = ({ lines, follow, level, request }: LogQuestion): TailCall => ({ lines, follow, level, requestId: request ?? "" });

export const questionFromWire = ({ lines, follow, level, requestId }: TailCall): LogQuestion =>
  ({ lines, follow, level: levelOf(level), ...(requestId !== "" && { request: requestId }) });

const levelOf = (text: string): LineLevel => levels.find((level) => level === text) ?? "info";

export const batchToWire = ({ lines, live }: LogBatch): TailLines => ({ json: lines.map((line) => JSON.stringify(line)), live });

/** What another release's line looks like is not known here: it is left out. */
export function linesFromWire({ json }: TailLines): LogLine[] {
  return json.flatMap((text) => {
    let value: unknown;
    try { value = JSON.parse(text); } catch { return []; }
    const parsed = lineSchema.safeParse(value);
    return parsed.success ? [parsed.data] : [];
  });
}

export const logsService = () => agentServices().Logs;
