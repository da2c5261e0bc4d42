/** Can a port be listened on just now? Asked by listening on it for an instant. */
import { createServer } from "node:net";

export interface PortState {
  readonly free: boolean;
  /** `EADDRINUSE`: somebody else listens; anything else: the address or the port cannot be had at all. */
  readonly code: string;
}

export function portState(host: string, port: number): Promise<PortState> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => { resolve({ free: false, code: error.code ?? "error" }); });
    server.listen({ host, port, exclusive: true }, () => { server.close(() => { resolve({ free: true, code: "" }); }); });
  });
}
