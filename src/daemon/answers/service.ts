/** The receiving end of `Answers`: what other members claim and hand over. A member speaks for itself only: a claim names the caller. */
import type grpc from "@grpc/grpc-js";
import { MinidError } from "../../core/errors.js";
import type { NodeId } from "../../core/ids.js";
import { callerOf } from "../../core/trust/peer.js";
import { unary } from "../security/rpc.js";
import type { SharedAnswers } from "./shared-answers.js";
import { type WireClaim, type WireReceipt, type WireRecords, type WireVerdict, answersService, claimFromWire, updateFromWire, verdictToWire } from "./wire.js";

/** Records in one message. */
const recordsMax = 4_096;

/** Adds the service to the members' server. */
export function serveAnswers(server: grpc.Server, answers: SharedAnswers): void {
  server.addService(answersService().service, {
    claim: unary<WireClaim, WireVerdict>(async (call) => {
      const asked = claimFromWire(call.request);
      ownClaim(callerOf(call), asked.claim.nodeId);
      return verdictToWire(answers.claimedElsewhere(asked));
    }),
    keep: unary<WireRecords, WireReceipt>(async (call) => {
      const { records } = call.request;
      if (records.length > recordsMax) throw new MinidError("invalid_value", `${records.length} records at once: at most ${recordsMax} are taken.`, { param: "records" });
      const updates = records.map(updateFromWire);
      for (const { claim } of updates) ownClaim(callerOf(call), claim.nodeId);
      return answers.keptFor(updates);
    }),
  });
}

function ownClaim(caller: NodeId | undefined, claimant: NodeId): void {
  if (caller !== claimant) throw new MinidError("invalid_value", "A claim names its caller: this one names another node.", { param: "claim" });
}
