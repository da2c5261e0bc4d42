/**
 * Who this machine is: a node id and a private key, made at its first start and kept for good. Both survive a change of
 * cluster; only a machine that was forgotten takes new ones, because its old name is refused for ever.
 */
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { systemClock } from "../../core/clock.js";
import { readDurable, writeDurable, writeDurableBytes } from "../../core/durable-file.js";
import { MinidError } from "../../core/errors.js";
import { type NodeId, nodeId } from "../../core/ids.js";
import { homeFiles, identitySchema } from "../../core/trust/trust.js";
import { createKey } from "../security/certificates.js";

export interface Identity {
  readonly nodeId: NodeId;
  /** PEM (PKCS #8). */
  readonly key: string;
}

/**
 * The home's identity, made now if it has none. The key is written before the id: an id never exists without its key.
 * @throws MinidError home_unusable when the id is there and its key is lost.
 */
export async function ensureIdentity(home: string): Promise<Identity> {
  const files = homeFiles(home);
  const known = await readDurable(files.identity, identitySchema);
  if (!known) {
    const identity = await newIdentity();
    await writeDurableBytes(files.key, identity.key);
    await writeNodeId(home, identity.nodeId);
    return identity;
  }
  try {
    return { nodeId: known.nodeId, key: await readFile(files.key, "utf8") };
  } catch (error) {
    throw new MinidError("home_unusable", `${files.key} cannot be read: restore it from a backup, or remove ${files.identity} and ${files.tls} and join again as a new machine.`, { cause: error });
  }
}

/** In memory only: `installMembership` makes it the home's. */
export const newIdentity = async (): Promise<Identity> => ({ nodeId: nodeId(randomBytes(16).toString("hex")), key: await createKey() });

export const writeNodeId = (home: string, id: NodeId): Promise<void> =>
  writeDurable(homeFiles(home).identity, { nodeId: id, createdAtMs: systemClock.wallMs() });
