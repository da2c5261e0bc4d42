/** What package.json says of this release. Read anew each time: an upgrade replaces it under a node that runs. */
import { readFileSync } from "node:fs";

const packageJson = (): { readonly version: string; readonly engines: { readonly node: string } } =>
  JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string; engines: { node: string } };

export const packageVersion = (): string => packageJson().version;

/** `>=20.19` → `20.19`. */
export const nodeVersionMin = (): string => packageJson().engines.node.replace(/^\D+/u, "");
