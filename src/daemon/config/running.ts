/**
 * `<home>/run/settings.json`: what the node was started with last, flags and environment included, so that commands on this home
 * know its ports and its model although the flags of `minid up` are nowhere else. Settings hold no secrets.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { loadConfig } from "./load.js";
import type { Config } from "./table.js";

const fileOf = (home: string): string => join(home, "run", "settings.json");
const schema = z.record(z.string().regex(/^MINID_[A-Z0-9_]+$/u), z.string());

/** @param environment the MINID_* settings of both processes. A disk that takes no file must not keep a node from starting. */
export function rememberSettings(home: string, environment: NodeJS.ProcessEnv): void {
  try {
    mkdirSync(join(home, "run"), { recursive: true, mode: 0o700 });
    writeFileSync(fileOf(home), `${JSON.stringify(environment)}\n`, { mode: 0o600 });
  } catch (error) {
    process.emitWarning(`${fileOf(home)} cannot be written: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** @returns undefined when the home was never started, or what is there cannot be used any more. */
export function rememberedConfig(home: string): Config | undefined {
  try {
    return loadConfig({ home: "/nonexistent", environment: schema.parse(JSON.parse(readFileSync(fileOf(home), "utf8"))) });
  } catch {
    return undefined;
  }
}
