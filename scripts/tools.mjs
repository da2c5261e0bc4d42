// Compiles the product and the tests' own tools (real clusters, chaos) to dist/, for the commands that run them outside of vitest.
import { spawnSync } from "node:child_process";
import { join } from "node:path";

export function compile() {
  for (const project of ["tsconfig.json", join("scripts", "tsconfig.json")]) {
    const { status } = spawnSync(process.execPath, [join("node_modules", "typescript", "bin", "tsc"), "-p", project], { stdio: "inherit" });
    if (status !== 0) throw new Error(`tsc -p ${project} failed`);
  }
}

/** A module of test/, by its path there. */
export const tool = (path) => import(new URL(`../dist/tools/test/${path}`, import.meta.url).href);
