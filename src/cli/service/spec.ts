/** What a system service of minid is to be, and what is there already. Both are plain data: `plan.ts` turns them into steps. */
export type ServicePlatform = "linux" | "darwin";

export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

export interface ServiceSpec {
  readonly platform: ServicePlatform;
  /** Absolute path of the Node.js that runs it, for ever. */
  readonly node: string;
  /** Where minid is installed: the directory of its package.json. */
  readonly root: string;
  readonly home: string;
  /** Existing, or to be made: then `uid` and `gid` are not known yet. */
  readonly user: { readonly name: string; readonly home: string; readonly make: boolean };
  /** Settings given on the command line, as flags of `minid up`: `["--http-port", "8101"]`. */
  readonly flags: readonly string[];
  /** A join token was given: the machine joins before it starts. */
  readonly joins: boolean;
  /** Switch the machine's own sleep off. */
  readonly keepAwake: boolean;
  /** node-mlx's library has to be fetched first. */
  readonly fetchMlx: boolean;
  /** A model to fetch before the service starts. */
  readonly pull: string | undefined;
  /** `http://127.0.0.1:8100`. */
  readonly url: string;
}

export interface ServiceSeen {
  /** Of the unit or property list; undefined: not installed. */
  readonly definition: string | undefined;
  /** Of the unit that hands the ranks over before sleep; Linux. */
  readonly sleepDefinition: string | undefined;
  /** Known to launchd or systemd, and running. */
  readonly loaded: boolean;
  readonly enabled: boolean;
  /** Of the agent that answers now; undefined: none does. */
  readonly runningVersion: string | undefined;
  readonly packageVersion: string;
  /** The power settings before anything was changed; macOS. */
  readonly pmset: { readonly sleep: number; readonly autorestart: number; readonly womp: number } | undefined;
}

export const serviceLabel = "dev.minid";
export const unitName = "minid.service";
export const sleepUnitName = "minid-sleep.service";
export const sleepDefinitionPath = `/etc/systemd/system/${sleepUnitName}`;
export const definitionPath: Readonly<Record<ServicePlatform, string>> = {
  linux: `/etc/systemd/system/${unitName}`,
  darwin: `/Library/LaunchDaemons/${serviceLabel}.plist`,
};
/** The system user that `minid install` makes where nobody is named. Its comment field says that it is ours to remove. */
export const systemUser = { name: "minid", home: "/var/lib/minid", comment: "minid service" } as const;
export const sleepTargets = ["sleep.target", "suspend.target", "hibernate.target", "hybrid-sleep.target"] as const;
