/** `Examine` and `Measure` of proto/agent.proto: the members' side, and the caller's. */
import type grpc from "@grpc/grpc-js";
import { MinidError } from "../../core/errors.js";
import { fromServiceError } from "../../core/rpc-errors.js";
import { type Transport, peerName } from "../../core/transport.js";
import { agentServices, unary } from "../security/rpc.js";
import { type MachineReport, parseReport } from "./report.js";

export interface ExamineRequest { readonly deep: boolean }
export interface ExamineReply { readonly json: Buffer }
interface MeasureRequest { readonly payload: Buffer }

const examineTimeoutMs = 25_000;
/** Until the connection stands: a machine that drops packets, or a halted agent, never gets there. */
const connectTimeoutMs = 6_000;
/** A machine that is so busy that it is looked at for that must not lose the connection over it, as a heartbeat's would. */
const keepaliveTimeoutMs = 10_000;
/** Reading a model of many gigabytes from a slow disk. */
const deepTimeoutMs = 600_000;
const measureTimeoutMs = 8_000;
const measureBytes = 512 << 10;
/** The best of so many: a busy machine is not a slow link. */
const measureAttempts = 4;
/** Fast enough to stop measuring: a quarter of a gigabit. */
const bytesPerSecondGood = 32 << 20;

export const examineHandler = (examineSelf: (deep: boolean) => Promise<MachineReport>): grpc.handleUnaryCall<ExamineRequest, ExamineReply> =>
  unary(async (call) => ({ json: Buffer.from(JSON.stringify(await examineSelf(call.request.deep))) }));

export const measureHandler: grpc.handleUnaryCall<MeasureRequest, object> = unary(() => Promise.resolve({}));

type Unary<Request, Reply> = (request: Request, options: grpc.CallOptions, callback: (error: grpc.ServiceError | null, reply?: Reply) => void) => grpc.ClientUnaryCall;
interface DoctorClient extends grpc.Client { readonly examine: Unary<ExamineRequest, ExamineReply>; readonly measure: Unary<MeasureRequest, object> }

export interface Colleague {
  /** @throws MinidError not_ready | deadline_exceeded | invalid_value */
  examine(deep: boolean): Promise<{ readonly report: MachineReport; readonly tookMs: number; readonly wallMs: number }>;
  /** Bytes a second of the quickest transfer; undefined when none arrived. */
  measure(): Promise<number | undefined>;
  close(): void;
}

/** @param address a gRPC target of that member's agent. */
export function colleague(address: string, nodeId: string, transport: Transport): Colleague {
  const Client = agentServices().Agent;
  const client = new Client(address, transport.channelCredentials(), { ...transport.channelOptions(peerName(nodeId)), "grpc.use_local_subchannel_pool": 1, "grpc.keepalive_timeout_ms": keepaliveTimeoutMs }) as grpc.Client as DoctorClient;
  const measureOnce = (): Promise<number> => new Promise((resolve, reject) => {
    const startedAt = performance.now();
    client.measure({ payload: Buffer.alloc(measureBytes) }, { deadline: Date.now() + measureTimeoutMs }, (error) => {
      if (error) reject(fromServiceError(error, "not_ready"));
      else resolve(measureBytes / ((performance.now() - startedAt) / 1_000));
    });
  });
  return {
    examine: async (deep) => {
      await new Promise<void>((resolve, reject) => {
        client.waitForReady(Date.now() + connectTimeoutMs, (error) => {
          if (error) reject(new MinidError("not_ready", `no connection to ${address} within ${connectTimeoutMs / 1_000} s`, { cause: error }));
          else resolve();
        });
      });
      const startedAt = performance.now();
      const json = await new Promise<Buffer>((resolve, reject) => {
        client.examine({ deep }, { deadline: Date.now() + (deep ? deepTimeoutMs : examineTimeoutMs) }, (error, reply) => {
          if (error) reject(fromServiceError(error, "not_ready"));
          else resolve(reply?.json ?? Buffer.alloc(0));
        });
      });
      const wallMs = Date.now();
      return { report: parseReport(json), tookMs: performance.now() - startedAt, wallMs };
    },
    measure: async () => {
      let best: number | undefined;
      for (let attempt = 0; attempt < measureAttempts && (best ?? 0) < bytesPerSecondGood; attempt += 1) {
        const speed = await measureOnce().catch(() => undefined);
        if (speed === undefined) break;
        best = Math.max(best ?? 0, speed);
      }
      return best;
    },
    close: () => { client.close(); },
  };
}
