/**
 * The worker process: composition root. Run by pm2 as `node dist/worker/main.js`, beside the agent, with settings from the
 * environment. Ends with 0 after SIGTERM, SIGINT or the supervisor's death, once the steps under way are finished; with 1 when
 * it cannot start or its engine thread dies, so that its supervisor starts it again.
 *
 * What is heavy to load comes late (serving.ts): a standby (succession.ts) first stays out of the way.
 */
import { randomUUID } from "node:crypto";
import { type MinidError, errorLine, toMinidError } from "../core/errors.js";
import { Lifecycle } from "../core/lifecycle.js";
import { type Log, createLog } from "../core/log.js";
import { onSupervisorGone, startWatchdog } from "../core/watchdog.js";
import { agentGone } from "./outlive-agent.js";
import { type WorkerSettings, workerSettings } from "./settings.js";
import { Succession } from "./succession.js";

/** The agent drains and ends its answers meanwhile; its own bound is pm2's kill_timeout (ecosystem.config.cjs). */
const agentStopMsMax = 300_000;
const loopStillMsMax = 20_000;

async function run(settings: WorkerSettings, log: Log): Promise<void> {
  const lifecycle = new Lifecycle((message) => { log.warn({}, message); });
  const succession = new Succession(settings.home, lifecycle.signal);
  lifecycle.onStop("succession", () => { succession.leave(); });
  let serving = false;
  const leave = (reason: string): void => {
    log.info({ reason }, serving ? "worker leaving" : "standby leaving");
    lifecycle.stop(reason).then(() => process.exit(0), (error: unknown) => { fail(log, toMinidError(error)); });
  };
  process.once("SIGTERM", () => {
    if (!serving) { leave("SIGTERM"); return; }
    void agentGone(settings.home, agentStopMsMax).then(() => { leave("SIGTERM"); });
  });
  process.once("SIGINT", () => { leave("SIGINT"); });
  onSupervisorGone(() => { leave("the supervisor is gone"); });
  const stopWatchdog = startWatchdog({ stillMsMax: loopStillMsMax, withParent: process.env["pm_id"] !== undefined });
  lifecycle.onStop("watchdog", stopWatchdog);

  const waited = await succession.settle(settings.standby);
  const { prepareWorker } = await import("./serving.js");
  const worker = await prepareWorker({ settings, incarnation: randomUUID(), lifecycle, log, onDeath: (error) => { fail(log, error); } });
  for (let patient = waited; worker && !serving;) {
    patient = await succession.turn((pid) => { worker.lookAt(pid); }) || patient;
    if (lifecycle.signal.aborted) return;
    serving = await worker.serve({ patient, rival: () => succession.served });
  }
  succession.leave();
}

function fail(log: Log, error: MinidError): never {
  log.error({}, errorLine(error));
  process.exit(1);
}

let log = createLog("worker");
try {
  const settings = workerSettings(process.env);
  log = createLog("worker", settings.logLevel, settings.logFiles);
  process.on("uncaughtException", (error) => { log.error({ stack: error.stack }, "uncaught exception"); process.exit(1); });
  process.on("unhandledRejection", (error) => { log.error({ stack: error instanceof Error ? error.stack : String(error) }, "unhandled rejection"); process.exit(1); });
  await run(settings, log);
} catch (error) {
  process.stderr.write(`minid worker: ${errorLine(error)}\n`);
  process.exit(1);
}
