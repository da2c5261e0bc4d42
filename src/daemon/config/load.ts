/**
 * Reads the configuration once: defaults, then the file, then the environment, then the flags. The result is frozen and
 * handed down; nothing looks at the environment afterwards.
 */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { z } from "zod";
import { MinidError } from "../../core/errors.js";
import { type Config, type SettingKey, environmentName, flagName, settingKeys, table } from "./table.js";

export interface ConfigSources {
  readonly home: string;
  /** `--config`. */
  readonly file?: string | undefined;
  readonly environment: NodeJS.ProcessEnv;
  /** Flags as text, by key. */
  readonly flags?: Readonly<Partial<Record<SettingKey, string>>>;
}

/** `--home`, else `$MINID_HOME`, else `~/.minid`; absolute. */
export function homeDirectory(flag: string | undefined, environment: NodeJS.ProcessEnv): string {
  return resolve(flag ?? environment["MINID_HOME"] ?? join(homedir(), ".minid"));
}

/** @throws MinidError config_invalid: names the source, the key, the value and what it should be. */
export function loadConfig(sources: ConfigSources): Config {
  const values: Record<string, unknown> = {};
  const origin: Record<string, string> = {};
  const take = (key: string, value: unknown, from: string) => { values[key] = value; origin[key] = from; };

  const file = configFile(sources);
  for (const [key, value] of Object.entries(file.content)) {
    if (!isSettingKey(key)) throw unknownKey(key, file.path);
    take(key, value, file.path);
  }
  for (const key of settingKeys) {
    const name = environmentName(key);
    const text = sources.environment[name] ?? (key === "local_rank" ? sources.environment["LOCAL_RANK"] : undefined);
    if (text !== undefined && text !== "") take(key, fromText(key, text, name), name);
  }
  for (const [key, text] of Object.entries(sources.flags ?? {})) {
    const flag = `--${flagName(key as SettingKey)}`;
    take(key, fromText(key as SettingKey, text, flag), flag);
  }

  const schema = z.object(Object.fromEntries(settingKeys.map((key) => [key, table[key].schema])));
  const parsed = schema.safeParse(values);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const path = issue?.path ?? [];
    const key = String(path[0] ?? "");
    throw invalid(`${origin[key] ?? "config"}: ${path.join(".")} is ${JSON.stringify(valueAt(values, path))}: ${issue?.message ?? "invalid"}`);
  }
  const config = parsed.data as Config;
  const broken = brokenRule(config);
  if (broken) throw invalid(`${origin[broken.key] ?? "config"}: ${broken.message}`);
  return Object.freeze(config);
}

/** What no single key's schema can see. */
function brokenRule(config: Config): { readonly key: SettingKey; readonly message: string } | undefined {
  if (config.suspect_after_ms < 2 * config.heartbeat_interval_ms) {
    return { key: "suspect_after_ms", message: `suspect_after_ms is ${config.suspect_after_ms}: it must be at least twice heartbeat_interval_ms (${config.heartbeat_interval_ms}), or one late heartbeat raises suspicion` };
  }
  if (config.dead_after_ms <= config.suspect_after_ms) {
    return { key: "dead_after_ms", message: `dead_after_ms is ${config.dead_after_ms}: it must be greater than suspect_after_ms (${config.suspect_after_ms})` };
  }
  if (config.slots_max < config.batch_max) {
    return { key: "slots_max", message: `slots_max is ${config.slots_max}: it must be at least batch_max (${config.batch_max}), since every running sequence needs a slot` };
  }
  const ports = [config.http_port, config.agent_port, config.worker_port];
  if (new Set(ports).size < ports.length) {
    return { key: "http_port", message: `http_port, agent_port and worker_port are ${ports.join(", ")}: they must differ` };
  }
  if ((config.http_tls_cert === undefined) !== (config.http_tls_key === undefined)) {
    return { key: config.http_tls_cert === undefined ? "http_tls_key" : "http_tls_cert", message: "http_tls_cert and http_tls_key belong together: give both or neither" };
  }
  const ids = config.devices.map((device) => device.device_id);
  const twice = ids.find((id, index) => ids.indexOf(id) !== index);
  return twice === undefined ? undefined : { key: "devices", message: `devices: device_id ${JSON.stringify(twice)} is there twice: give each machine its own` };
}

function configFile(sources: ConfigSources): { path: string; content: Record<string, unknown> } {
  const named = sources.file ?? sources.environment["DISTRIBUTED_CONFIG"];
  const path = resolve(named ?? join(sources.home, "config.json"));
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    // A home that is no directory has no configuration either; whoever makes the home says what is wrong with it.
    const missing = ["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "");
    if (missing && named === undefined) return { path, content: {} };
    throw invalid(`${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? "error"}): correct --config or $DISTRIBUTED_CONFIG, or create the file`);
  }
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw invalid(`${path} is not valid JSON: ${(error as Error).message}`);
  }
  if (typeof content !== "object" || content === null || Array.isArray(content)) throw invalid(`${path} must hold one JSON object`);
  return { path, content: content as Record<string, unknown> };
}

function fromText(key: SettingKey, text: string, from: string): unknown {
  switch (table[key].from) {
    case "text": return text;
    case "number": {
      const value = Number(text);
      if (text.trim() === "" || Number.isNaN(value)) throw invalid(`${from} is ${JSON.stringify(text)}: a number is needed`);
      return value;
    }
    case "boolean":
      if (text === "true" || text === "1") return true;
      if (text === "false" || text === "0") return false;
      throw invalid(`${from} is ${JSON.stringify(text)}: true or false is needed`);
    case "json":
      try { return JSON.parse(text); } catch { throw invalid(`${from} is not valid JSON`); }
  }
}

const invalid = (message: string): MinidError => new MinidError("config_invalid", message);
const isSettingKey = (key: string): key is SettingKey => Object.hasOwn(table, key);

function unknownKey(key: string, path: string): MinidError {
  const near = settingKeys.find((known) => known.replaceAll("_", "") === key.toLowerCase().replaceAll(/[_-]/gu, ""));
  return invalid(`${path}: unknown key ${JSON.stringify(key)}${near ? `; did you mean ${near}?` : "; docs/CONFIG.md lists the keys"}`);
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let at = value;
  for (const step of path) at = typeof at === "object" && at !== null ? (at as Record<PropertyKey, unknown>)[step] : undefined;
  return at;
}
