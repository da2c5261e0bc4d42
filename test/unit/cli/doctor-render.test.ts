import { describe, expect, it } from "vitest";
import type { Finding, Severity } from "../../../src/checks/check.js";
import { causeOf, renderExamination } from "../../../src/cli/doctor-render.js";
import { merged } from "../../../src/daemon/doctor/examine.js";

const finding = (severity: Severity, code: string, device?: string, seen = `${code} seen`): Finding =>
  ({ code, severity, seen, meaning: severity === "ok" ? "" : `${code} means this.`, remedy: severity === "ok" ? "" : `mend ${code}`, ...(device === undefined ? {} : { device }) });

describe("findings from several machines", () => {
  it("are told once for each code and machine, by the worst, which comes first", () => {
    const list = merged([finding("warning", "worker_crash_loop", "mini2", "by another"), finding("error", "worker_crash_loop", "mini2", "by itself"), finding("ok", "agent_hung", "mini2"), finding("error", "worker_crash_loop", "mini3")]);
    expect(list.map(({ code, device, seen }) => `${code} ${device}: ${seen}`)).toEqual(["worker_crash_loop mini2: by itself", "worker_crash_loop mini3: worker_crash_loop seen", "agent_hung mini2: agent_hung seen"]);
  });

  it("keep several of a kind", () => {
    expect(merged([finding("error", "port_taken", "mini1", "8100"), finding("error", "port_taken", "mini1", "50050")])).toHaveLength(2);
  });
});

describe("what minid doctor prints", () => {
  const examination = {
    device: "mini1", cluster: { id: "abcdef0123456789", name: "minid" }, machines: [{ device: "mini1", reported: true }, { device: "mini2", reported: false }],
    findings: [finding("error", "agent_down", "mini2"), finding("warning", "member_dead", "mini2"), finding("warning", "member_dead", "mini3"), finding("ok", "swapping", "mini1")],
  };

  it("puts what follows from a finding in a line below it, and what stands alone by itself", () => {
    expect(renderExamination(examination, { all: false, fixed: [] })).toBe([
      "cluster minid (abcdef01), asked from mini1: 1 of 2 machines reported; not: mini2", "",
      "ERROR    agent_down (mini2): agent_down seen", "         agent_down means this.", "         -> mend agent_down",
      "         hence member_dead (mini2): member_dead seen",
      "WARNING  member_dead (mini3): member_dead seen", "         member_dead means this.", "         -> mend member_dead", "",
      "1 errors, 2 warnings, 0 notes; 1 looks found nothing wrong",
    ].join("\n"));
  });

  it("follows causes to their own cause, and never in a circle", () => {
    const troubles = [finding("error", "stage_not_loaded"), finding("error", "worker_down", "mini2"), finding("error", "port_taken", "mini2")];
    expect(causeOf(troubles[0]!, troubles)?.code).toBe("port_taken");
    expect(causeOf(troubles[1]!, troubles)?.code).toBe("port_taken");
    expect(causeOf(troubles[2]!, troubles)).toBeUndefined();
  });

  it("says what was mended", () => {
    expect(renderExamination({ ...examination, findings: [] }, { all: false, fixed: [{ code: "agent_hung", done: true, what: "ended it" }, { code: "certificate_expired", done: false, what: "no key" }] })).toContain("fixed    agent_hung: ended it\nNOT fixed certificate_expired: no key");
  });
});
