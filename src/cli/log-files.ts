/**
 * The log files of a home and their bound. pm2 appends to `agent.log` and `worker.log` and never rotates, and launchd would keep an
 * inherited file open for ever, so the process that started pm2 rotates: copy, then truncate, which an appending writer survives.
 * Lines written between the copy and the truncation are lost; that is the price of not asking pm2 anything.
 */
import { copyFileSync, createWriteStream, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";

export const logBytesMax = 32 << 20;
const logNames = ["agent.log", "worker.log", "pm2.log"] as const;

/** Each file over the bound becomes `<name>.1`, and starts anew. @returns the names rotated. */
export function rotateLogs(directory: string, bytesMax = logBytesMax): string[] {
  return logNames.filter((name) => {
    const path = join(directory, name);
    const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    if (size <= bytesMax) return false;
    copyFileSync(path, `${path}.1`);
    truncateSync(path);
    return true;
  });
}

/** Keeps what pm2 says of its own (who exited, who was started again) and drops its copy of the apps' output, which has files of its own. */
export function keepPm2Lines(output: Readable, path: string): void {
  const file = createWriteStream(path, { flags: "a", mode: 0o600 });
  file.on("error", () => output.resume());
  const lines = createInterface({ input: output });
  lines.on("line", (line) => { if (/^\S+ PM2 /u.test(line) || line.startsWith("[PM2]")) file.write(`${line}\n`); });
  lines.on("close", () => file.end());
}
