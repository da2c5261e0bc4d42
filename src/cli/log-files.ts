/**
 * The log files that others write, and their bound. Agent and worker rotate their own (src/core/rotating-file.ts). What they print
 * besides (`*.out.log`) is appended by pm2, and `up.log` by launchd: both keep their file open for ever and never rotate, so the process
 * that started pm2 does it: copy, then truncate, which an appending writer survives. What is written between the two is lost.
 */
import { copyFileSync, rmSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { RotatingFile } from "../core/rotating-file.js";

export const logBytesMax = 4 << 20;
const logNames = ["agent.out.log", "worker.out.log", "up.log"] as const;
const pm2LogFilesMax = 2;

/** Each file over the bound becomes `<name>.1`, and starts anew. @returns the names rotated. */
export function rotateLogs(directory: string, bytesMax = logBytesMax): string[] {
  return logNames.filter((name) => {
    const path = join(directory, name);
    const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    if (size <= bytesMax) return false;
    // Where the disk has no room for both, the older lines go: the bound is what matters.
    try { copyFileSync(path, `${path}.1`); } catch { rmSync(`${path}.1`, { force: true }); }
    truncateSync(path);
    return true;
  });
}

/** Keeps what pm2 says of its own (who exited, who was started again) and drops its copy of the apps' output, which has files of its own. */
export function keepPm2Lines(output: Readable, path: string): void {
  const file = new RotatingFile({ path, bytesMax: logBytesMax, filesMax: pm2LogFilesMax, lostLine: (lost) => `${lost} lines were lost: the disk did not take them\n` });
  const lines = createInterface({ input: output });
  lines.on("line", (line) => { if (/^\S+ PM2 /u.test(line) || line.startsWith("[PM2]")) file.write(`${line}\n`); });
  lines.on("close", () => { file.closeSync(); });
}
