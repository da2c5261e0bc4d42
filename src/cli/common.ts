/** What the commands share: home and flags to configuration, the local agent's address, exit codes. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { ArgsDef } from "citty";
import { MinidError, toMinidError } from "../core/errors.js";
import { type Config, type SettingKey, flagName, settingKeys, table } from "../daemon/config/table.js";
import { homeDirectory, loadConfig } from "../daemon/config/load.js";

export const packageRoot = new URL("../../", import.meta.url);

/** Of every command that talks to a node. */
export const homeArgs = {
  home: { type: "string", description: "minid's home directory (default: $MINID_HOME, else ~/.minid)", valueHint: "DIR" },
} as const satisfies ArgsDef;

export const jsonArgs = { json: { type: "boolean", description: "Print JSON", default: false } } as const satisfies ArgsDef;

/** `--config` and a flag for every setting. */
export const configArgs: ArgsDef = {
  config: { type: "string", description: "Configuration file (default: $DISTRIBUTED_CONFIG, else <home>/config.json)", valueHint: "FILE" },
  ...Object.fromEntries(settingKeys.map((key) => [flagName(key), {
    type: "string" as const,
    description: table[key].doc,
    valueHint: table[key].from === "number" ? "N" : table[key].from === "json" ? "JSON" : "VALUE",
  }])),
};

export interface NodeSettings { readonly home: string; readonly config: Config }

/** @throws MinidError usage for a flag that does not exist, config_invalid for a bad value. */
export function nodeSettings(args: Readonly<Record<string, unknown>>, known: ArgsDef = {}): NodeSettings {
  refuseUnknownFlags(args, { ...homeArgs, ...jsonArgs, ...configArgs, ...known });
  const home = homeDirectory(stringArg(args, "home"), process.env);
  const flags: Partial<Record<SettingKey, string>> = {};
  for (const key of settingKeys) {
    const value = stringArg(args, flagName(key));
    if (value !== undefined) flags[key] = value;
  }
  return { home, config: loadConfig({ home, file: stringArg(args, "config"), environment: process.env, flags }) };
}

export function stringArg(args: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const value = args[name];
  if (value === undefined || value === false) return undefined;
  // `--no-mdns` and `--mdns` both arrive as booleans.
  if (typeof value === "boolean") return String(value);
  return typeof value === "number" ? String(value) : value as string;
}

const unitsMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `30m`, `24h`, `7d` in milliseconds. @throws MinidError usage */
export function duration(flag: string, text: string): number {
  const match = /^(\d+)([smhd])$/u.exec(text);
  const unit = match?.[2] === undefined ? undefined : unitsMs[match[2]];
  if (!match?.[1] || unit === undefined) throw new MinidError("usage", `--${flag} is ${JSON.stringify(text)}: write a number and s, m, h or d, like 24h`);
  return Number(match[1]) * unit;
}

/** citty takes any flag; a typing error must not pass unseen. */
export function refuseUnknownFlags(args: Readonly<Record<string, unknown>>, known: ArgsDef): void {
  const camel = (name: string) => name.replaceAll(/-([a-z0-9])/gu, (_, letter: string) => letter.toUpperCase());
  const names = new Set(Object.entries(known).flatMap(([name, definition]) => [name, camel(name), ...[("alias" in definition ? definition.alias : undefined) ?? []].flat()]));
  const unknown = Object.keys(args).find((name) => name !== "_" && !names.has(name));
  if (unknown !== undefined) throw new MinidError("usage", `unknown flag --${unknown}`);
}

/** What the running agent of this home says of itself (`<home>/run/agent.json`). */
export function localAgentUrl(home: string): string {
  try {
    const { httpPort } = JSON.parse(readFileSync(join(home, "run", "agent.json"), "utf8")) as { httpPort: number };
    return `http://127.0.0.1:${httpPort}`;
  } catch {
    return "http://127.0.0.1:8100";
  }
}

export function exitCodeOf(thrown: unknown): number {
  switch (toMinidError(thrown).code) {
    case "usage": case "config_invalid": return 2;
    case "not_running": return 3;
    default: return 1;
  }
}
