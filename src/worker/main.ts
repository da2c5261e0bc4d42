/**
 * The worker process: composition root. Run by pm2 as `node dist/worker/main.js`, beside the agent, with settings from the
 * environment. Ends with 0 after SIGTERM, SIGINT or the supervisor's death, once the steps under way are finished; with 1 when
 * it cannot start or its engine thread dies, so that its supervisor starts it again.
 */
import { randomUUID } from "node:crypto";
import grpc from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";
import { sleep } from "../core/clock.js";
import { MinidError, errorLine } from "../core/errors.js";
import { Lifecycle } from "../core/lifecycle.js";
import { type Log, createLog } from "../core/log.js";
import { announceSelf, removeRunFile } from "../core/run-file.js";
import { type Transport, loadTransport } from "../core/transport.js";
import { onSupervisorGone, startWatchdog } from "../core/watchdog.js";
import { workerService } from "../core/worker-client.js";
import { EngineHost } from "./engine-host.js";
import { EpochStore } from "./epoch-store.js";
import { LoopLag } from "./loop-lag.js";
import { agentGone } from "./outlive-agent.js";
import { PhaseClock } from "./phase-clock.js";
import { probeReply } from "./probe.js";
import { WorkerService } from "./service.js";
import { type WorkerSettings, workerSettings } from "./settings.js";
import { StageControl } from "./stage-control.js";

/** The step in flight may be a long prefill chunk; what is not finished by then is resumed elsewhere. */
const drainTimeoutMs = 15_000;
/** The agent drains and ends its answers meanwhile; its own bound is pm2's kill_timeout (ecosystem.config.cjs). */
const agentStopMsMax = 300_000;
const loopStillMsMax = 20_000;
const clusterPollIntervalMs = 200;
const messageBytesMax = 64 << 20;
const serviceName = "minid.worker.v1.Worker";

const serverOptions: grpc.ServerOptions = {
  "grpc.max_receive_message_length": messageBytesMax,
  "grpc.max_send_message_length": messageBytesMax,
  "grpc.keepalive_time_ms": 2_000,
  "grpc.keepalive_timeout_ms": 2_000,
  "grpc.enable_channelz": 0,
};

async function run(settings: WorkerSettings, log: Log): Promise<void> {
  const incarnation = randomUUID();
  const lifecycle = new Lifecycle((message) => { log.warn({}, message); });
  const leave = (reason: string): void => {
    log.info({ reason }, "worker leaving");
    lifecycle.stop(reason).then(() => process.exit(0), (error: unknown) => { fail(log, error); });
  };
  process.once("SIGTERM", () => { void agentGone(settings.home, agentStopMsMax).then(() => { leave("SIGTERM"); }); });
  process.once("SIGINT", () => { leave("SIGINT"); });
  onSupervisorGone(() => { leave("the supervisor is gone"); });

  const stopWatchdog = startWatchdog({ stillMsMax: loopStillMsMax, withParent: process.env["pm_id"] !== undefined });
  lifecycle.onStop("watchdog", stopWatchdog);
  const transport = await openTransport(settings, log, lifecycle.signal);
  if (!transport) return;
  lifecycle.onStop("transport", () => { transport.close(); });
  const epochs = await EpochStore.open(settings.home, log);
  const loopLag = new LoopLag();
  lifecycle.onStop("loop lag", () => { loopLag.stop(); });

  const health = new HealthImplementation({ "": "SERVING", [serviceName]: "NOT_SERVING" });
  const phases = new PhaseClock((phase) => {
    health.setStatus("", phase === "PHASE_DRAINING" ? "NOT_SERVING" : "SERVING");
    health.setStatus(serviceName, phase === "PHASE_IDLE" || phase === "PHASE_BUSY" ? "SERVING" : "NOT_SERVING");
  });
  const showPhase = (): void => { phases.enter(control.phase); };
  const host = new EngineHost({ onDeath: (reason) => { fail(log, new MinidError("engine_failed", reason)); }, onActivity: showPhase });
  lifecycle.onStop("engine thread", () => host.close());
  const control = new StageControl({ host, epochs, transport, log, onChange: showPhase });
  const service = new WorkerService({ control, log, probe: () => probeReply({ incarnation, host, epochs, control, phases, loopLag }) });

  const server = new grpc.Server(serverOptions);
  server.addService(workerService().service, service.handlers);
  health.addToServer(server);
  const listener = await transport.listen(server, { host: settings.host, port: settings.port, log });
  lifecycle.onStop("server", async () => { server.forceShutdown(); await listener.close(); });
  lifecycle.onStop("ring", async () => {
    service.endRuns(new MinidError("draining", "this worker is leaving"));
    await control.stop();
  });
  lifecycle.onStop("steps under way", () => control.drain(), drainTimeoutMs);
  announceSelf(settings.home, "worker", { incarnation, port: listener.port });
  lifecycle.onStop("run file", () => { removeRunFile(settings.home, "worker", process.pid); });
  log.info({ incarnation, host: settings.host, port: listener.port, secure: transport.secure, epoch: epochs.highest }, "worker listening");
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

function fail(log: Log, error: unknown): never {
  log.error({}, errorLine(error));
  process.exit(1);
}

let log = createLog("worker");
// What gRPC would print also reaches us as a status, and is logged once.
grpc.setLogVerbosity(grpc.logVerbosity.NONE);
try {
  const settings = workerSettings(process.env);
  log = createLog("worker", settings.logLevel);
  process.on("uncaughtException", (error) => { log.error({ stack: error.stack }, "uncaught exception"); process.exit(1); });
  process.on("unhandledRejection", (error) => { log.error({ stack: error instanceof Error ? error.stack : String(error) }, "unhandled rejection"); process.exit(1); });
  await run(settings, log);
} catch (error) {
  process.stderr.write(`minid worker: ${errorLine(error)}\n`);
  process.exit(1);
}
