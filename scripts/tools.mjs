// Compiles the product and the tests' own tools (real clusters, chaos) to dist/, for the commands that run them outside of vitest.
import { spawnSync } from "node:child_process";
import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export function compile() {
  for (const command of [[join("scripts", "build.mjs")], [join("node_modules", "typescript", "bin", "tsc"), "-p", join("scripts", "tsconfig.json")]]) {
    const { status } = spawnSync(process.execPath, command, { stdio: "inherit" });
    if (status !== 0) throw new Error(`${command.join(" ")} failed`);
  }
  // What the server reads beside its own modules.
  cpSync("proto", join("dist", "tools", "proto"), { recursive: true });
  cpSync(join("dist", "api", "dashboard"), join("dist", "tools", "src", "api", "dashboard"), { recursive: true });
}

/** A module of test/, by its path there. */
export const tool = (path) => import(new URL(`../dist/tools/test/${path}`, import.meta.url).href);

/** Aborted by Ctrl-C: a long run then ends in order, and its report tells of what there was. */
export function interruption() {
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"]) process.once(name, () => stop.abort());
  return stop.signal;
}

/** The end of a long run: what a person reads, the whole as JSON where it was asked for, and the exit code. */
export function conclude({ lines, report, file, failed }) {
  console.log(lines.join("\n"));
  if (file !== undefined) writeFileSync(file, JSON.stringify(report, undefined, 2));
  process.exitCode = failed ? 1 : 0;
}
