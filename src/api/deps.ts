/** Everything the front door stands on; the agent's composition root fills it. */
import type { Socket } from "node:net";
import type { Clock } from "../core/clock.js";
import type { Log } from "../core/log.js";
import type { SharedAnswers } from "../daemon/answers/shared-answers.js";
import type { Generator } from "../daemon/inference/generate.js";
import type { KeyDirectory } from "../daemon/security/api-keys.js";
import type { RequestObserver } from "./observer.js";
import type { ApiOptions } from "./options.js";
import type { KeyLimiter } from "./limits/key-limits.js";
import type { TlsSource } from "./http-server.js";
import type { AdminActions } from "./routes/admin.js";
import type { ModelDirectory } from "./served-model.js";
import type { StatusSource } from "./status-source.js";

export interface ApiDeps {
  /** On rank 0 the scheduler itself, elsewhere the way to it. */
  readonly generator: Generator;
  readonly models: ModelDirectory;
  readonly status: StatusSource;
  readonly log: Log;
  readonly clock?: Clock;
  /** Default: of this process alone. */
  readonly answers?: SharedAnswers;
  readonly observer?: RequestObserver;
  /** The cluster's API keys; without them nobody is let in from another machine. */
  readonly keys?: KeyDirectory;
  readonly admin?: AdminActions;
  /** HTTPS with this certificate; without it HTTP. */
  readonly tls?: TlsSource;
  /** Connections over the home's own socket (home-socket.ts). */
  readonly homeConnections?: WeakSet<Socket>;
  /** Names by which this machine may be asked without a key, besides localhost and addresses (access/web-page.ts). */
  readonly hostNames?: () => readonly string[];
}

/** What a route is given: the dependencies with their defaults filled in. */
export interface RouteContext extends Required<Omit<ApiDeps, "tls">> {
  readonly limiter: KeyLimiter;
  readonly options: ApiOptions;
}
