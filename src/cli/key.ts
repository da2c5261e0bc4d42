/** `minid key create`, `key list`, `key revoke ID`: API keys for callers from other machines. Works on the files of the home, with the agent up or down. */
import { defineCommand } from "citty";
import { MinidError } from "../core/errors.js";
import { type KeyLimits, type KeyScope, keyScopes } from "../core/trust/records.js";
import { homeDirectory } from "../daemon/config/load.js";
import { type KeyOptions, type KeySummary, createKey, listKeys, revokeKey } from "../daemon/security/api-keys.js";
import { duration, homeArgs, jsonArgs, refuseUnknownFlags, stringArg } from "./common.js";

const ownArgs = {
  name: { type: "string", description: "What the list calls it (default: key)", valueHint: "TEXT" },
  scope: { type: "string", description: `${keyScopes.join(", ")}; several with commas (default: inference). admin includes the others`, valueHint: "SCOPE" },
  ttl: { type: "string", description: "How long it is good: 30m, 24h, 90d (default: until it is revoked)", valueHint: "TIME" },
  "concurrent-requests": { type: "string", description: "Requests that it may have in flight at once", valueHint: "N" },
  "requests-per-minute": { type: "string", description: "Requests that it may begin in a minute", valueHint: "N" },
  "tokens-per-minute": { type: "string", description: "Tokens, read and written, that it may spend in a minute", valueHint: "N" },
} as const;
const positional = { action: { type: "positional", required: true, description: "create, list or revoke" }, id: { type: "positional", required: false, description: "The key to revoke" } } as const;

export const keyCommand = defineCommand({
  meta: { name: "key", description: "API keys: `key create`, `key list`, `key revoke ID`" },
  args: { ...positional, ...ownArgs, ...homeArgs, ...jsonArgs },
  run: async ({ args }) => {
    refuseUnknownFlags(args, { ...positional, ...ownArgs, ...homeArgs, ...jsonArgs });
    const home = homeDirectory(stringArg(args, "home"), process.env);
    switch (args.action) {
      case "create": {
        const { key, ...summary } = await createKey(home, optionsOf(args));
        console.log(args.json ? JSON.stringify({ key, ...jsonOf(summary) }) : key);
        // Beside the key, not in it: `KEY=$(minid key create)` gets the key alone.
        if (!args.json) console.error(`${line(summary)}\nThis is the only time that the key is shown. It is good on every machine of the cluster.`);
        return 0;
      }
      case "list": {
        const keys = await listKeys(home);
        if (args.json) console.log(JSON.stringify(keys.map(jsonOf)));
        else console.log(keys.length === 0 ? "no keys: minid key create makes one" : keys.map(line).join("\n"));
        return 0;
      }
      case "revoke": {
        if (args.id === undefined) throw new MinidError("usage", "key revoke needs the key's id: minid key list shows it");
        const summary = await revokeKey(home, args.id);
        console.log(args.json ? JSON.stringify(jsonOf(summary)) : line(summary));
        return 0;
      }
      default: throw new MinidError("usage", `key ${args.action}: create, list and revoke are what it takes`);
    }
  },
});

function optionsOf(args: Readonly<Record<string, unknown>>): KeyOptions {
  const [name, scope, ttl] = ["name", "scope", "ttl"].map((flag) => stringArg(args, flag));
  const limits: KeyLimits = {
    ...limit(args, "concurrent-requests", "concurrentRequests", 10_000),
    ...limit(args, "requests-per-minute", "requestsPerMinute", 1_000_000_000),
    ...limit(args, "tokens-per-minute", "tokensPerMinute", 1_000_000_000),
  };
  return {
    ...(name !== undefined && { name }), ...(scope !== undefined && { scopes: scope.split(",").map(scopeOf) }),
    ...(ttl !== undefined && { ttlMs: duration("ttl", ttl) }), ...(Object.keys(limits).length > 0 && { limits }),
  };
}

function scopeOf(text: string): KeyScope {
  const scope = keyScopes.find((known) => known === text.trim());
  if (scope === undefined) throw new MinidError("usage", `--scope ${JSON.stringify(text)} is not one of ${keyScopes.join(", ")}`);
  return scope;
}

function limit(args: Readonly<Record<string, unknown>>, flag: string, field: keyof KeyLimits, max: number): KeyLimits {
  const text = stringArg(args, flag);
  if (text === undefined) return {};
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > max) throw new MinidError("usage", `--${flag} is ${JSON.stringify(text)}: give a whole number from 1 to ${max}`);
  return { [field]: value };
}

const time = (ms: number): string => new Date(ms).toISOString();

function line(key: KeySummary): string {
  const expiry = key.expiresAtMs === undefined ? "" : `  expires ${time(key.expiresAtMs)}`;
  const limits = Object.entries(key.limits).map(([name, value]) => `  ${name} ${value}`).join("");
  return `${key.keyId}  ${key.state.padEnd(7)}  ${key.scopes.join(",")}  ${key.name}  made ${time(key.createdAtMs)}${expiry}${limits}`;
}

const jsonOf = (key: KeySummary) => ({
  id: key.keyId, name: key.name, state: key.state, scopes: key.scopes,
  limits: { concurrent_requests: key.limits.concurrentRequests ?? null, requests_per_minute: key.limits.requestsPerMinute ?? null, tokens_per_minute: key.limits.tokensPerMinute ?? null },
  created_at: time(key.createdAtMs), expires_at: key.expiresAtMs === undefined ? null : time(key.expiresAtMs),
});
