/** `Generator` on another machine: the `Generate` rpc of rank 0's agent. Aborting cancels the call; a transport that breaks is `stage_lost`, which is resumable. */
import grpc from "@grpc/grpc-js";
import { MinidError } from "../../core/errors.js";
import type { Epoch } from "../../core/ids.js";
import { fromServiceError } from "../../core/rpc-errors.js";
import type { Transport } from "../../core/transport.js";
import type { GenerateEvent, GenerateRequest, Generator } from "./generate.js";
import { type GenerateClient, agentService, eventFromWire, requestToWire } from "./generate-wire.js";

/** The leader itself keeps the deadline; this much later the caller stops waiting for it to say so. */
const deadlineGraceMs = 1_000;

export class RemoteGenerator implements Generator {
  readonly #client: GenerateClient;
  readonly #epoch: Epoch;

  /** @param epoch the term in which that agent is believed to lead; one that leads a lower one refuses. */
  constructor(client: GenerateClient, epoch: Epoch) {
    this.#client = client;
    this.#epoch = epoch;
  }

  async *generate(request: GenerateRequest, signal: AbortSignal): AsyncGenerator<GenerateEvent, void, undefined> {
    if (signal.aborted) throw new MinidError("cancelled", "The sequence was cancelled: the caller went away.");
    const options = request.deadlineMs === undefined ? {} : { deadline: Date.now() + request.deadlineMs + deadlineGraceMs };
    const call = this.#client.generate(requestToWire(request, this.#epoch), new grpc.Metadata(), options);
    const abort = (): void => { call.cancel(); };
    signal.addEventListener("abort", abort, { once: true });
    let finished = false;
    try {
      for await (const update of call as AsyncIterable<Parameters<typeof eventFromWire>[0]>) {
        const event = eventFromWire(update);
        if (!event) continue;
        finished = event.kind === "finished";
        yield event;
        if (finished) return;
      }
      throw new MinidError("stage_lost", "The leader ended the stream before the answer was complete.");
    } catch (error) {
      if (signal.aborted) throw new MinidError("cancelled", "The sequence was cancelled: the caller went away.", { cause: error });
      if (error instanceof MinidError) throw error;
      const known = fromServiceError(error as Error, "stage_lost");
      // Nobody here cancelled: a server that shuts down by force ends its streams with this status.
      throw known.code === "cancelled" ? new MinidError("stage_lost", "The leader broke the stream off.", { cause: error }) : known;
    } finally {
      signal.removeEventListener("abort", abort);
      if (!finished) call.cancel();
    }
  }
}

/** A channel to one agent for generating; `close` it when that agent leads no more. @param name `peerName(nodeId)`. */
export function connectGenerateClient(address: string, name: string, transport: Transport): GenerateClient & grpc.Client {
  const Client = agentService();
  return new Client(address, transport.channelCredentials(), transport.channelOptions(name)) as grpc.Client as GenerateClient & grpc.Client;
}
