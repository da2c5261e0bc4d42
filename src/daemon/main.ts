/** The agent's process: reads its settings, starts the agent, and ends with it. Run by pm2 (ecosystem.config.cjs). */
import { readFileSync } from "node:fs";
import { systemClock } from "../core/clock.js";
import { errorLine } from "../core/errors.js";
import { type LogFiles, createLog } from "../core/log.js";
import { onSupervisorGone, startWatchdog } from "../core/watchdog.js";
import { startAgent } from "./agent.js";
import { homeDirectory, loadConfig } from "./config/load.js";
import type { Config } from "./config/table.js";

/** An agent whose loop stands still this long is ended, and pm2 starts it again. */
const frozenMsMax = 15_000;

/** By hand, without pm2, it talks to the terminal. */
const logFiles = (home: string, config: Config): LogFiles | undefined =>
  (process.env["pm_id"] === undefined ? undefined : { home, bytesMax: config.log_bytes_max, filesMax: config.log_files_max });

async function main(): Promise<void> {
  const home = homeDirectory(undefined, process.env);
  const config = loadConfig({ home, environment: process.env });
  const log = createLog("agent", config.log_level, logFiles(home, config));
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string };
  startWatchdog({ stillMsMax: frozenMsMax, withParent: true });

  const agent = await startAgent({ home, config, version, clock: systemClock, log, onReplaced: () => stop("the home is in another cluster now", 0) });
  function stop(reason: string, code: number): void {
    log.info({ reason }, "agent stopping");
    agent.stop(reason).then(() => process.exit(code), () => process.exit(1));
  }
  process.on("SIGTERM", () => stop("SIGTERM", 0));
  process.on("SIGINT", () => stop("SIGINT", 0));
  onSupervisorGone(() => process.exit(1));
}

main().catch((error: unknown) => {
  console.error(`minid agent: ${errorLine(error)}`);
  process.exit(1);
});
