/**
 * The worker put together. `prepareWorker` does everything that a process can do before it is the worker of its home: libraries, the
 * engine thread, the trust files; `serve` is the rest, and quick. Ends the process with 1 when its engine thread dies.
 */
import grpc from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";
import { sleep } from "../core/clock.js";
import { MinidError, toMinidError } from "../core/errors.js";
import type { Lifecycle } from "../core/lifecycle.js";
import type { Log } from "../core/log.js";
import { announceSelf, removeRunFile } from "../core/run-file.js";
import { type Transport, loadTransport } from "../core/transport.js";
import type { SecureListener } from "../core/trust/secure-listener.js";
import { workerService } from "../core/worker-client.js";
import { EngineHost } from "./engine-host.js";
import { EpochStore } from "./epoch-store.js";
import { LoopLag } from "./loop-lag.js";
import { PhaseClock } from "./phase-clock.js";
import { probeReply } from "./probe.js";
import { WorkerService } from "./service.js";
import type { WorkerSettings } from "./settings.js";
import { SpareStage, noteStage } from "./spare-stage.js";
import { StageControl } from "./stage-control.js";
import { StageLoader } from "./stage-loader.js";

/** The step in flight may be a long prefill chunk; what is not finished by then is resumed elsewhere. */
const drainTimeoutMs = 15_000;
const clusterPollIntervalMs = 200;
/** A process that has just been killed may hold the port while the kernel takes its memory apart. */
const portTimeoutMs = 3_000;
const portPollIntervalMs = 20;
const messageBytesMax = 64 << 20;
const serviceName = "minid.worker.v1.Worker";

const serverOptions: grpc.ServerOptions = {
  "grpc.max_receive_message_length": messageBytesMax,
  "grpc.max_send_message_length": messageBytesMax,
  "grpc.keepalive_time_ms": 2_000,
  "grpc.keepalive_timeout_ms": 2_000,
  "grpc.enable_channelz": 0,
};

export interface WorkerParts {
  readonly settings: WorkerSettings;
  readonly incarnation: string;
  readonly lifecycle: Lifecycle;
  readonly log: Log;
  /** The engine thread ended although nobody closed it. */
  readonly onDeath: (error: MinidError) => void;
}

export interface PreparedWorker {
  /** Called about once a second while another worker of this home serves: keeps its stage at hand where there is room. */
  lookAt(worker: number): void;
  /**
   * Takes the worker's port and announces itself.
   * @param rival another living worker of this home. @param patient the port may be held a moment longer by the dead.
   * @returns false when a rival was quicker. @throws MinidError port_in_use | home_unusable
   */
  serve(options: { readonly patient: boolean; readonly rival: () => boolean }): Promise<boolean>;
}

/** @returns undefined when told to leave meanwhile. */
export async function prepareWorker(parts: WorkerParts): Promise<PreparedWorker | undefined> {
  const { settings, lifecycle, log } = parts;
  // What gRPC would print also reaches us as a status, and is logged once.
  grpc.setLogVerbosity(grpc.logVerbosity.NONE);
  let showPhase = (): void => undefined;
  const host = new EngineHost({ onDeath: (reason) => { parts.onDeath(new MinidError("engine_failed", reason)); }, onActivity: () => { showPhase(); }, preload: settings.engine, home: settings.home });
  lifecycle.onStop("engine thread", () => host.close());
  const service = workerService();
  const transport = await openTransport(settings, log, lifecycle.signal);
  if (!transport) return undefined;
  lifecycle.onStop("transport", () => { transport.close(); });

  const loader = new StageLoader(host, () => { showPhase(); });
  const spare = new SpareStage({ home: settings.home, loader, memoryBytesMax: settings.memoryBytesMax, log });

  return {
    lookAt: (worker) => { spare.look(worker); },
    serve: async (options) => {
      await spare.takeOver();
      const { incarnation } = parts;
      const epochs = await EpochStore.open(settings.home, log);
      const loopLag = new LoopLag();
      const health = new HealthImplementation({ "": "SERVING", [serviceName]: "NOT_SERVING" });
      const phases = new PhaseClock((phase) => {
        health.setStatus("", phase === "PHASE_DRAINING" ? "NOT_SERVING" : "SERVING");
        health.setStatus(serviceName, phase === "PHASE_IDLE" || phase === "PHASE_BUSY" ? "SERVING" : "NOT_SERVING");
      });
      showPhase = (): void => { phases.enter(control.phase); };
      const control = new StageControl({
        host, loader, epochs, transport, log,
        onChange: () => { showPhase(); }, onReady: (load) => { noteStage(settings.home, load, host.board.get("weightBytes")); },
      });
      const worker = new WorkerService({ control, log, probe: () => probeReply({ incarnation, host, epochs, control, phases, loopLag }) });
      const server = new grpc.Server(serverOptions);
      server.addService(service.service, worker.handlers);
      health.addToServer(server);
      const listener = await listen(() => transport.listen(server, { host: settings.host, port: settings.port, log }), options);
      if (!listener) { loopLag.stop(); return false; }
      lifecycle.onStop("loop lag", () => { loopLag.stop(); });
      lifecycle.onStop("server", async () => { server.forceShutdown(); await listener.close(); });
      lifecycle.onStop("ring", async () => {
        worker.endRuns(new MinidError("draining", "this worker is leaving"));
        await control.stop();
      });
      lifecycle.onStop("steps under way", () => control.drain(), drainTimeoutMs);
      announceSelf(settings.home, "worker", { incarnation, port: listener.port });
      lifecycle.onStop("run file", () => { removeRunFile(settings.home, "worker", process.pid); });
      log.info({ incarnation, host: settings.host, port: listener.port, secure: transport.secure, epoch: epochs.highest }, "worker listening");
      return true;
    },
  };
}

async function listen(attempt: () => Promise<SecureListener>, { patient, rival }: { readonly patient: boolean; readonly rival: () => boolean }): Promise<SecureListener | undefined> {
  const until = performance.now() + (patient ? portTimeoutMs : 0);
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (rival()) return undefined;
      if (toMinidError(error).code !== "port_in_use" || performance.now() >= until) throw error;
      await sleep(portPollIntervalMs);
    }
  }
}

/** The agent founds or joins the cluster; until then there is nobody to talk to. Undefined when told to leave meanwhile. */
async function openTransport(settings: WorkerSettings, log: Log, signal: AbortSignal): Promise<Transport | undefined> {
  let told = false;
  for (;;) {
    try {
      return loadTransport(settings.home, { insecure: settings.insecure, onProblem: (message) => { log.warn({}, message); } });
    } catch (error) {
      if (!(error instanceof MinidError) || error.code !== "no_cluster") throw error;
      if (!told) log.info({ home: settings.home }, "waiting for this machine to found or join a cluster");
      told = true;
      await sleep(clusterPollIntervalMs);
      if (signal.aborted) return undefined;
    }
  }
}
