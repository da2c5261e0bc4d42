/**
 * Removes a machine from the cluster for good: a record, written to the home of any other member, that spreads to all of them.
 * Its open connections are cut within a second here and within a few heartbeats elsewhere. Its node id is never accepted again;
 * should the machine come back, it joins with a new token and gets a new id. Every token that is still good ends with it: the
 * machine kept what members keep of them, which is enough to use them.
 */
import { type Clock, systemClock } from "../../core/clock.js";
import { MinidError } from "../../core/errors.js";
import type { MemberRecord } from "../../core/trust/records.js";
import { Trust, writeRecord } from "../../core/trust/trust.js";

const prefixCharsMin = 6;

/**
 * @param device its device id (name), node id, or an unambiguous beginning of the node id.
 * @throws MinidError not_found | invalid_value when several machines match, or it is this very machine.
 */
export async function forgetDevice(home: string, device: string, clock: Clock = systemClock): Promise<MemberRecord> {
  const trust = Trust.open(home);
  try {
    const members = trust.records.members();
    const named = members.filter((member) => member.deviceId === device);
    const matching = named.length > 0 ? named : members.filter((member) => device.length >= prefixCharsMin && member.nodeId.startsWith(device));
    const [member] = matching;
    const known = members.map((each) => `${each.deviceId} (${each.nodeId.slice(0, 8)})`).join(", ");
    if (!member) throw new MinidError("not_found", `no member is called ${JSON.stringify(device)}: the members are ${known}.`);
    if (new Set(matching.map((each) => each.nodeId)).size > 1) throw new MinidError("invalid_value", `several members are called ${JSON.stringify(device)}: give one's node id; the members are ${known}.`, { param: "device" });
    if (member.nodeId === trust.nodeId) throw new MinidError("invalid_value", "a machine cannot forget itself: run this on another member.", { param: "device" });
    trust.records.assertRoomFor("forgotten");
    await writeRecord(home, { kind: "forgotten", nodeId: member.nodeId, by: trust.nodeId, atMs: clock.wallMs() });
    for (const { token, end } of trust.records.tokens()) {
      if (!end) await writeRecord(home, { kind: "token-end", tokenId: token.tokenId, reason: "revoked", expiresAtMs: token.expiresAtMs, by: trust.nodeId, atMs: clock.wallMs() });
    }
    return member;
  } finally { trust.close(); }
}
