/** Looks for members without being one: for `minid join` and `minid doctor`. */
import type { Log } from "../../core/log.js";
import type { Introduction } from "./introduction.js";
import { Mdns } from "./mdns.js";

export interface Browser { stop(): Promise<void> }

export interface BrowseOptions {
  readonly log: Log;
  /** The one IPv4 address to use. */
  readonly interface?: string | undefined;
  readonly port?: number;
  /** Only members of this cluster. */
  readonly clusterId?: string;
  /** @param address host:port of an agent. */
  readonly onFound: (address: string, introduction: Introduction) => void;
}

/** Calls back for every agent heard, until stopped. */
export function browse(options: BrowseOptions): Browser {
  return new Mdns({
    interface: options.interface,
    log: options.log,
    ...(options.port === undefined ? {} : { port: options.port }),
    onIntroduction: (introduction) => {
      if (options.clusterId === undefined || introduction.clusterId === options.clusterId) options.onFound(introduction.address, introduction);
    },
  });
}
