/** `GET /distributed/*`: the cluster as it is right now, out of the one status snapshot. */
import type { FastifyInstance } from "fastify";
import { MinidError } from "../../core/errors.js";
import type { RouteContext } from "../deps.js";
import type { StatusSource } from "../status-source.js";

export function distributedRoutes(server: FastifyInstance, { status }: RouteContext): void {
  server.get("/distributed/gpu-info", () => gpuInfo(status));
  server.get("/distributed/status", () => status.status());
  server.get("/distributed/metrics-targets", (request) => status.metricsTargets(request.socket.localAddress ?? "127.0.0.1"));
  server.get("/distributed/plan", () => {
    const plan = status.plan();
    if (plan === undefined) throw new MinidError("not_ready", "There is no plan yet: /health says what is missing.");
    return plan;
  });
}

/** Existing clients parse this shape: fields may be added, none renamed, moved or removed. */
function gpuInfo(status: StatusSource) {
  const { totalDevices, healthyDevices, worldSize, grpcActive } = status.clusterInfo();
  return {
    cluster_info: {
      total_devices: totalDevices,
      healthy_devices: healthyDevices,
      world_size: worldSize,
      gRPC_communication: grpcActive ? "Active" : "Inactive",
    },
    devices: status.devices().map(({ deviceId, rank, role, hostname, status: state, extra }) =>
      ({ ...extra, device_id: deviceId, rank, role, hostname, status: state })),
  };
}
