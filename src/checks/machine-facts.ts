/** What is known of one machine before minid is asked to run on it. Gathered by `machine-probe.ts`, judged by `machine-checks.ts`. */
export interface PortFact {
  /** The setting that chose it: `http_port`. */
  readonly setting: string;
  readonly host: string;
  readonly port: number;
  /** `minid`: the node of this very home holds it. */
  readonly state: "free" | "minid" | "taken" | "forbidden";
  /** Who took it, as far as the system tells: `nginx (pid 812)`. */
  readonly holder?: string;
}

export interface MulticastFact {
  readonly interface: string;
  readonly address: string;
  readonly heard: boolean;
  /** Why not, when the system said so. */
  readonly problem?: string;
}

/** Seconds of idleness after which the machine sleeps; 0: never; undefined: not known. */
export interface PowerFact {
  readonly idleSleep: "never" | "possible" | undefined;
  /** Starts by itself when the power comes back; macOS only. */
  readonly autorestart?: boolean;
  readonly wakeOnLan?: boolean;
  /** What the system said, for the report. */
  readonly detail: string;
}

export interface FirewallFact {
  readonly name: string;
  readonly active: boolean;
  /** What it lets through of ours, when that could be read: `undefined` means it could not. */
  readonly letsIn: boolean | undefined;
}

export interface MachineFacts {
  readonly platform: NodeJS.Platform;
  readonly arch: string;
  /** `20.19.1`. */
  readonly nodeVersion: string;
  /** What package.json asks for: `20.19.0`. */
  readonly nodeVersionMin: string;
  /** The product version on macOS, else empty. */
  readonly macosVersion: string;
  readonly ports: readonly PortFact[];
  readonly home: string;
  /** undefined: the home's file system could not be asked. */
  readonly disk: { readonly freeBytes: number; readonly totalBytes: number; readonly writable: boolean } | undefined;
  readonly memory: { readonly totalBytes: number; readonly availableBytes: number; readonly swapUsedBytes?: number };
  /** Bytes of the configured model's files on this machine; undefined: not there. */
  readonly modelBytes: number | undefined;
  readonly clock: { readonly wallMs: number; readonly synchronized: boolean | undefined; readonly detail: string };
  /** Empty: no interface but the loopback. undefined: multicast is switched off in the settings. */
  readonly multicast: readonly MulticastFact[] | undefined;
  readonly firewalls: readonly FirewallFact[];
  readonly power: PowerFact;
  /** Whether this process runs, or the node will run, outside a login session (LaunchDaemon, systemd system unit). */
  readonly systemService: boolean;
}
