import grpc from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import { MinidError } from "../../../src/core/errors.js";
import { fromServiceError, toServiceError } from "../../../src/core/rpc-errors.js";

describe("errors over gRPC", () => {
  it("arrive as they left: code, message, param and retry-after", () => {
    const sent = new MinidError("queue_full", "64 requests wait", { retryAfterSeconds: 3, param: "messages[0]" });
    expect(fromServiceError(toServiceError(sent), "stage_lost")).toMatchObject({ code: "queue_full", message: "64 requests wait", retryAfterSeconds: 3, param: "messages[0]", retryable: true });
  });

  it("carry the catalogue's status, and what is no catalogued error as internal_error", () => {
    expect(toServiceError(new MinidError("stale_epoch", "old")).code).toBe(grpc.status.FAILED_PRECONDITION);
    expect(fromServiceError(toServiceError(new TypeError("x is undefined")), "stage_lost")).toMatchObject({ code: "internal_error", message: "x is undefined" });
  });

  it("are what the caller says when the transport failed, except for deadlines and cancellation", () => {
    const status = (code: grpc.status) => Object.assign(new Error("transport"), { code, details: "transport", metadata: new grpc.Metadata() });
    expect(fromServiceError(status(grpc.status.UNAVAILABLE), "stage_lost").code).toBe("stage_lost");
    expect(fromServiceError(status(grpc.status.DEADLINE_EXCEEDED), "stage_lost").code).toBe("deadline_exceeded");
    expect(fromServiceError(status(grpc.status.CANCELLED), "stage_lost").code).toBe("cancelled");
  });

  it("ignore a code that the catalogue does not know", () => {
    const metadata = new grpc.Metadata();
    metadata.set("minid-code", "rm_rf");
    expect(fromServiceError(Object.assign(new Error("x"), { code: grpc.status.INTERNAL, details: "x", metadata }), "not_ready").code).toBe("not_ready");
  });
});
