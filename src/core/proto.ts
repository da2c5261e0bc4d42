/** Loads `proto/*.proto`. The one place that says how wire types become JavaScript. */
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const protoDirectory = fileURLToPath(new URL("../../proto/", import.meta.url));

/** The gRPC client constructors and service definitions of one file; 64-bit integers are numbers (all ours stay below 2^53), enums their names, fields camelCase. */
export function loadProto(file: "agent.proto" | "worker.proto"): grpc.GrpcObject {
  const definition = protoLoader.loadSync(protoDirectory + file, { keepCase: false, longs: Number, enums: String, defaults: true, arrays: true, oneofs: true });
  return grpc.loadPackageDefinition(definition);
}

/** Channel options for every client of ours; the reasons are measured (docs/adr/0005-grpc-settings.md). */
export const channelOptions: grpc.ChannelOptions = {
  "grpc.keepalive_time_ms": 2_000,
  "grpc.keepalive_timeout_ms": 1_000,
  "grpc.keepalive_permit_without_calls": 1,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1_000,
  "grpc.max_receive_message_length": 64 << 20,
  "grpc.max_send_message_length": 64 << 20,
  "grpc.enable_http_proxy": 0,
  "grpc.enable_channelz": 0,
};
