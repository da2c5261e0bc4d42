/**
 * The receiving end of `Deliver`: parses what a member sends and hands it on with the sender's certified name. A message that
 * is no JSON or too large ends the stream; one of a shape not known here (another version's) is dropped; what it means is the core's to judge.
 */
import type grpc from "@grpc/grpc-js";
import type { NodeId } from "../../core/ids.js";
import { MinidError } from "../../core/errors.js";
import { toServiceError } from "../../core/rpc-errors.js";
import { callerOf } from "../../core/trust/peer.js";
import type { ClusterEnvelope } from "./links.js";
import { parseMessage } from "./message-schema.js";
import { type Bulletin, parseBulletin } from "../telemetry/bulletin.js";
import { type ClusterMessage, MESSAGE_BYTES_MAX } from "./messages.js";

export interface DeliverHandlers {
  readonly onMessage: (from: NodeId, message: ClusterMessage) => void;
  /** No business of the core. */
  readonly onBulletin: (from: NodeId, bulletin: Bulletin) => void;
  /** The sender's trust records differ from ours. */
  readonly onTrustDigest: (from: NodeId, digest: string) => void;
}

export function deliverHandler(handlers: DeliverHandlers): grpc.handleClientStreamingCall<ClusterEnvelope, object> {
  return (call, callback) => {
    let ended = false;
    const end = (error: unknown): void => {
      if (ended) return;
      ended = true;
      if (error === undefined) callback(null, {});
      else callback(toServiceError(error));
    };
    const from = callerOf(call);
    if (from === undefined) { end(new MinidError("invalid_value", "the caller has no node id in its certificate")); return; }
    call.on("data", (envelope: ClusterEnvelope) => {
      if (ended) return;
      const value = parse(envelope.json);
      if (value === undefined) { end(new MinidError("invalid_value", "a cluster message is not a JSON object of the allowed size")); return; }
      handlers.onTrustDigest(from, envelope.trustDigest);
      const message = parseMessage(value);
      if (message) handlers.onMessage(from, message);
      else {
        const bulletin = parseBulletin(value);
        if (bulletin) handlers.onBulletin(from, bulletin);
      }
    });
    call.on("end", () => end(undefined));
    call.on("error", () => { ended = true; });
    call.on("cancelled", () => { ended = true; });
  };
}

function parse(json: Buffer): object | undefined {
  if (json.length > MESSAGE_BYTES_MAX) return undefined;
  try {
    const value: unknown = JSON.parse(json.toString("utf8"));
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
