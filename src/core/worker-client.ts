/**
 * A typed client of one worker: for the agent beside it (probe, load) and for the scheduler (run). One channel, which
 * reconnects by itself; every failure arrives as a MinidError. Decides nothing and retries nothing.
 */
import grpc from "@grpc/grpc-js";
import { MinidError } from "./errors.js";
import { loadProto } from "./proto.js";
import { fromServiceError } from "./rpc-errors.js";
import type { Transport } from "./transport.js";
import type { Frame, LoadProgress, LoadRequest, PassFailure, ProbeReply, Step, StepResult } from "./worker-protocol.js";

const probeTimeoutDefaultMs = 1_000;

export interface RunHandlers {
  /** In the order of the steps sent. */
  readonly onResult: (result: StepResult) => void;
  /** Once: the stream is over. Steps without a result are lost. Undefined when both sides closed in order. */
  readonly onEnd: (error: MinidError | undefined) => void;
}

export interface RunStream {
  send(step: Step): void;
  /** Says that no more steps follow; results of the steps sent still arrive. */
  close(): void;
  /** Ends the stream at once; `onEnd` gets `cancelled`. */
  cancel(): void;
}

export interface WorkerClient {
  /** @throws MinidError deadline_exceeded | not_ready */
  probe(timeoutMs?: number): Promise<ProbeReply>;
  /**
   * Resolves with the last message, whose `ready` is true.
   * @throws MinidError model_* | engine_* | stale_epoch | draining | invalid_value | not_ready
   */
  load(request: LoadRequest, options?: { readonly onProgress?: (progress: LoadProgress) => void; readonly signal?: AbortSignal }): Promise<LoadProgress>;
  run(handlers: RunHandlers): RunStream;
  close(): void;
}

interface RawWorkerClient extends grpc.Client {
  probe(request: object, options: grpc.CallOptions, callback: (error: grpc.ServiceError | null, reply?: ProbeReply) => void): grpc.ClientUnaryCall;
  load(request: LoadRequest): grpc.ClientReadableStream<LoadProgress>;
  run(): grpc.ClientDuplexStream<Step, StepResult>;
  pass(): grpc.ClientDuplexStream<Frame, PassFailure>;
}

interface WorkerPackage { readonly minid: { readonly worker: { readonly v1: { readonly Worker: grpc.ServiceClientConstructor } } } }

/** The service's definition, for the server and for clients. Reads the .proto file: keep the result. */
export function workerService(): grpc.ServiceClientConstructor {
  const proto: grpc.GrpcObject & Partial<WorkerPackage> = loadProto("worker.proto");
  return (proto as grpc.GrpcObject & WorkerPackage).minid.worker.v1.Worker;
}

/** The untyped client's calls with our types, for the ring link; others use `connectWorker`. */
export function rawWorkerClient(address: string, name: string, transport: Transport): RawWorkerClient {
  const Client = workerService();
  return new Client(address, transport.channelCredentials(), transport.channelOptions(name)) as grpc.Client as RawWorkerClient;
}

/**
 * @param address host:port of the worker's server.
 * @param name the DNS name in its certificate: `peerName(nodeId)`.
 * @param onBroken called when a connection ends over which a probe was answered.
 */
export function connectWorker(address: string, name: string, transport: Transport, onBroken?: () => void): WorkerClient {
  const client = rawWorkerClient(address, name, transport);
  let watched = onBroken === undefined;
  let closed = false;
  const watch = (): void => {
    if (watched || closed) return;
    watched = true;
    client.getChannel().watchConnectivityState(grpc.connectivityState.READY, Infinity, () => {
      watched = false;
      if (!closed) onBroken?.();
    });
  };
  return {
    probe: (timeoutMs = probeTimeoutDefaultMs) => new Promise((resolve, reject) => {
      client.probe({}, { deadline: Date.now() + timeoutMs }, (error, reply) => {
        if (error) { reject(fromServiceError(error, "not_ready")); return; }
        watch();
        if (reply) resolve(reply);
      });
    }),

    load: (request, options = {}) => new Promise((resolve, reject) => {
      const call = client.load(request);
      const abort = (): void => { call.cancel(); };
      let last: LoadProgress | undefined;
      options.signal?.addEventListener("abort", abort, { once: true });
      if (options.signal?.aborted) abort();
      call.on("data", (progress: LoadProgress) => { last = progress; options.onProgress?.(progress); });
      call.on("error", (error: grpc.ServiceError) => { reject(fromServiceError(error, "not_ready")); });
      call.on("status", (status: grpc.StatusObject) => {
        options.signal?.removeEventListener("abort", abort);
        if (status.code !== grpc.status.OK) return;
        if (last?.ready) resolve(last);
        else reject(new MinidError("internal_error", `${address} ended a load without saying that the stage is ready`));
      });
    }),

    run: (handlers) => {
      const call = client.run();
      let ended = false;
      const end = (error: MinidError | undefined): void => { if (!ended) { ended = true; handlers.onEnd(error); } };
      call.on("data", (result: StepResult) => { handlers.onResult(result); });
      call.on("error", (error: grpc.ServiceError) => { end(fromServiceError(error, "stage_lost")); });
      call.on("status", (status: grpc.StatusObject) => { if (status.code === grpc.status.OK) end(undefined); });
      return {
        send: (step) => { if (!ended) call.write(step); },
        close: () => { call.end(); },
        cancel: () => { call.cancel(); },
      };
    },

    close: () => { closed = true; client.close(); },
  };
}
