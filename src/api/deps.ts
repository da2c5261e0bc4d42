/** Everything the front door stands on; the agent's composition root fills it. */
import type { Clock } from "../core/clock.js";
import type { Log } from "../core/log.js";
import type { Generator } from "../daemon/inference/generate.js";
import type { RequestObserver } from "./observer.js";
import type { ApiOptions } from "./options.js";
import type { ModelDirectory } from "./served-model.js";
import type { StatusSource } from "./status-source.js";

export interface ApiDeps {
  /** On rank 0 the scheduler itself, elsewhere the way to it. */
  readonly generator: Generator;
  readonly models: ModelDirectory;
  readonly status: StatusSource;
  readonly log: Log;
  readonly clock?: Clock;
  readonly observer?: RequestObserver;
}

/** What a route is given: the dependencies with their defaults filled in. */
export interface RouteContext extends Required<ApiDeps> {
  readonly options: ApiOptions;
}
