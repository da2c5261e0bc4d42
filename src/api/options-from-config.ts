/** The front door's settings out of the configuration table. */
import type { Config } from "../daemon/config/table.js";
import type { ApiOptions } from "./options.js";

export const apiOptionsOf = (config: Config, version: string): Partial<ApiOptions> => ({
  version,
  bodyBytesMax: config.http_body_bytes_max,
  connectionsMax: config.http_connections_max,
  corsOrigins: config.http_cors_origins,
  keepAliveMs: config.sse_keepalive_ms,
  logContent: config.log_content,
  loopbackNeedsKey: config.http_loopback_key,
  receiveTimeoutMs: config.http_receive_timeout_ms,
  requestTimeoutMs: config.request_timeout_ms,
});
