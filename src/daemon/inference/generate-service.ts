/** The server side of `Generate`: hands the call to the local generator while this node leads, and refuses otherwise. */
import { once } from "node:events";
import type grpc from "@grpc/grpc-js";
import { MinidError } from "../../core/errors.js";
import { type Epoch, compareEpochs, epochText } from "../../core/ids.js";
import { toServiceError } from "../../core/rpc-errors.js";
import { wireEpoch } from "../../core/worker-protocol.js";
import type { Generator } from "./generate.js";
import { type GenerateCall, type GenerateUpdate, eventToWire, requestFromWire } from "./generate-wire.js";

/** Whether this node serves, asked for each call. */
export type Leadership =
  | { readonly kind: "leads"; readonly epoch: Epoch; readonly generator: Generator }
  /** `message` says what is missing: `no_leader` when another node leads or none does, `not_ready`, `draining`. */
  | { readonly kind: "refuses"; readonly code: "no_leader" | "not_ready" | "draining"; readonly message: string };

export function generateHandler(leadership: () => Leadership): grpc.handleServerStreamingCall<GenerateCall, GenerateUpdate> {
  return (call) => { void serve(call, leadership); };
}

/** Never rejects: every failure ends the call with its status. */
async function serve(call: grpc.ServerWritableStream<GenerateCall, GenerateUpdate>, leadership: () => Leadership): Promise<void> {
  const gone = new AbortController();
  call.on("cancelled", () => { gone.abort(); });
  try {
    const { generator } = leader(leadership(), wireEpoch(call.request.epoch));
    for await (const event of generator.generate(requestFromWire(call.request), gone.signal)) {
      if (!call.write(eventToWire(event))) await once(call, "drain", { signal: gone.signal });
    }
    call.end();
  } catch (error) {
    if (!gone.signal.aborted) call.emit("error", toServiceError(error));
  }
}

function leader(leadership: Leadership, callers: Epoch): Extract<Leadership, { kind: "leads" }> {
  if (leadership.kind === "refuses") throw new MinidError(leadership.code, leadership.message);
  if (compareEpochs(callers, leadership.epoch) > 0) {
    throw new MinidError("no_leader", `This node leads epoch ${epochText(leadership.epoch)}, and the caller knows of ${epochText(callers)}: it has been superseded.`);
  }
  return leadership;
}
