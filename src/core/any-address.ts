/** Listening on every address of the machine: `::` takes IPv4 as well, except where IPv6 is switched off. */
import { createServer } from "node:net";

export const isAnyAddress = (host: string): boolean => host === "0.0.0.0" || host === "::";

/** @returns the host to listen on: `0.0.0.0` for `::` on a machine without IPv6, everything else as it is. */
export async function bindableHost(host: string): Promise<string> {
  if (host !== "::") return host;
  return await new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", (error: NodeJS.ErrnoException) => { resolve(error.code === "EAFNOSUPPORT" || error.code === "EADDRNOTAVAIL" ? "0.0.0.0" : host); });
    probe.listen({ host, port: 0, exclusive: true }, () => { probe.close(() => { resolve(host); }); });
  });
}
