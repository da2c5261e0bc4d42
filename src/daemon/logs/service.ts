/** The receiving end of `Logs`: other members read this home's log files. Bounded: so many readers at once, and no faster than they take it. */
import { once } from "node:events";
import type grpc from "@grpc/grpc-js";
import { MinidError } from "../../core/errors.js";
import { toServiceError } from "../../core/rpc-errors.js";
import { tailLogs } from "./tail.js";
import { type TailCall, type TailLines, batchToWire, logsService, questionFromWire } from "./wire.js";

const readersMax = 32;

/** Adds the service to the members' server. */
export function serveLogs(server: grpc.Server, home: string): void {
  let readers = 0;
  const tail = async (call: grpc.ServerWritableStream<TailCall, TailLines>): Promise<void> => {
    const gone = new AbortController();
    call.on("cancelled", () => { gone.abort(); });
    readers += 1;
    try {
      if (readers > readersMax) throw new MinidError("limit_reached", `${readersMax} readers follow this machine's logs already: end one`);
      for await (const batch of tailLogs({ ...questionFromWire(call.request), home, signal: gone.signal })) {
        if (!call.write(batchToWire(batch))) await once(call, "drain", { signal: gone.signal });
      }
      call.end();
    } catch (error) {
      if (!gone.signal.aborted) call.emit("error", toServiceError(error));
    } finally {
      readers -= 1;
    }
  };
  server.addService(logsService().service, { tail: (call: grpc.ServerWritableStream<TailCall, TailLines>) => { void tail(call); } });
}
