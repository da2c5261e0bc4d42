/** `minid token`: prints a join token; `token list`, `token revoke ID`. Works on the files of the home; a running agent sees it within a second. */
import { networkInterfaces } from "node:os";
import { defineCommand } from "citty";
import { MinidError } from "../core/errors.js";
import { readRunFile } from "../core/run-file.js";
import { createToken, listTokens, revokeToken } from "../daemon/security/tokens.js";
import { homeDirectory } from "../daemon/config/load.js";
import { duration, homeArgs, jsonArgs, refuseUnknownFlags, stringArg } from "./common.js";

const ownArgs = {
  ttl: { type: "string", description: "How long it lets machines in: 30m, 24h, 7d (default 24h)", valueHint: "TIME" },
  once: { type: "boolean", description: "Lets in one machine only", default: false },
} as const;

export const tokenCommand = defineCommand({
  meta: { name: "token", description: "Print a join token; `token list`; `token revoke ID`" },
  args: {
    action: { type: "positional", description: "list or revoke; nothing makes a new token", required: false },
    id: { type: "positional", description: "The token to revoke", required: false },
    ...ownArgs, ...homeArgs, ...jsonArgs,
  },
  run: async ({ args }) => {
    refuseUnknownFlags(args, { ...homeArgs, ...jsonArgs, ...ownArgs, action: { type: "positional" }, id: { type: "positional" } });
    const home = homeDirectory(stringArg(args, "home"), process.env);
    switch (args.action) {
      case undefined: {
        const ttl = stringArg(args, "ttl");
        const token = await createToken(home, { once: args.once, hints: reachableAt(home), ...(ttl === undefined ? {} : { ttlMs: duration("ttl", ttl) }) });
        console.log(args.json ? JSON.stringify({ token: token.line, id: token.tokenId, expires_at: new Date(token.expiresAtMs).toISOString() }) : token.line);
        return 0;
      }
      case "list": {
        const tokens = await listTokens(home);
        if (args.json) { console.log(JSON.stringify(tokens)); return 0; }
        for (const token of tokens) console.log(`${token.tokenId}  ${token.state.padEnd(7)}  ${token.once ? "once" : "    "}  expires ${new Date(token.expiresAtMs).toISOString()}`);
        if (tokens.length === 0) console.log("no tokens: minid token makes one");
        return 0;
      }
      case "revoke": {
        if (args.id === undefined) throw new MinidError("usage", "token revoke needs the token's id: minid token list shows it");
        const token = await revokeToken(home, args.id);
        console.log(args.json ? JSON.stringify(token) : `${token.tokenId} ${token.state}`);
        return 0;
      }
      default: throw new MinidError("usage", `token ${args.action}: list and revoke are what it takes`);
    }
  },
});

/** Where this machine's agent can be dialled: the token carries it, so that a join needs no multicast. */
function reachableAt(home: string): string[] {
  const port = readRunFile(home, "agent")?.port;
  if (port === undefined) return [];
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []).filter((address) => address.family === "IPv4");
  return [...addresses.filter((address) => !address.internal), ...addresses.filter((address) => address.internal)].slice(0, 4).map((address) => `${address.address}:${port}`);
}
