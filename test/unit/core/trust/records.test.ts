import { array, assert, integer, oneof, property } from "fast-check";
import { describe, expect, it } from "vitest";
import { nodeId } from "../../../../src/core/ids.js";
import { type TrustRecord, TrustSet, isSpent, recordKey, tokensMax, trustRecordSchema } from "../../../../src/core/trust/records.js";

const dayMs = 24 * 3_600_000;
const a = nodeId("aa".repeat(16));
const b = nodeId("bb".repeat(16));
const key = "0123456789abcdef".repeat(4);
const member = (id = a, keySha256 = key): TrustRecord => ({ kind: "member", nodeId: id, keySha256, deviceId: "mini", by: b, atMs: 1 });
const forgotten = (id = a): TrustRecord => ({ kind: "forgotten", nodeId: id, by: b, atMs: 2 });
const token = (tokenId = "01".repeat(8), expiresAtMs = dayMs): TrustRecord => ({ kind: "token", tokenId, verifier: key, once: false, createdAtMs: 0, expiresAtMs, by: a });
const tokenEnd = (tokenId = "01".repeat(8)): TrustRecord => ({ kind: "token-end", tokenId, reason: "revoked", expiresAtMs: dayMs, by: a, atMs: 3 });

const anyRecord = oneof(
  integer({ min: 0, max: 5 }).map((n) => member(nodeId(`${n}f`.repeat(16)))),
  integer({ min: 0, max: 5 }).map((n) => forgotten(nodeId(`${n}f`.repeat(16)))),
  integer({ min: 0, max: 5 }).map((n) => token(`${n}f`.repeat(8))),
  integer({ min: 0, max: 5 }).map((n) => tokenEnd(`${n}f`.repeat(8))),
);

describe("trust records", () => {
  it("make a member of the very key that was admitted, and of no other", () => {
    const set = new TrustSet([member()]);
    expect(set.isMember(a, key)).toBe(true);
    expect(set.isMember(a, `${key.slice(0, 16)}${"f".repeat(48)}`)).toBe(false);
    expect(set.isMember(b, key)).toBe(false);
  });

  it("forget for good, whichever record arrived first", () => {
    for (const order of [[member(), forgotten()], [forgotten(), member()]]) {
      const set = order.reduce((sum, record) => sum.with([record]), TrustSet.empty);
      expect(set.isMember(a, key)).toBe(false);
      expect(set.members()).toEqual([]);
    }
  });

  it("end up equal on all sides, in whatever order and portions they arrive", () => {
    assert(property(array(anyRecord, { maxLength: 20 }), integer({ min: 0, max: 20 }), (records, cut) => {
      const one = new TrustSet(records);
      const other = TrustSet.empty.with(records.slice(cut).toReversed()).with(records.slice(0, cut));
      expect(other.digest(0)).toBe(one.digest(0));
      expect(other.members().map(recordKey).toSorted()).toEqual(one.members().map(recordKey).toSorted());
      expect(one.with(other.list())).toBe(one);
    }));
  });

  it("have another digest when one set knows more", () => {
    const digests = [[], [member()], [member(), forgotten()], [member(), token()]].map((records) => new TrustSet(records).digest(0));
    expect(new Set(digests).size).toBe(4);
  });

  it("let the traces of a token fade a day after it expired, and nothing else", () => {
    expect(isSpent(token(), dayMs + dayMs)).toBe(false);
    expect(isSpent(token(), 2 * dayMs + 1)).toBe(true);
    expect(isSpent(member(), 1e15)).toBe(false);
    expect(isSpent(forgotten(), 1e15)).toBe(false);
    expect(new TrustSet([member(), token()]).digest(3 * dayMs)).toBe(new TrustSet([member()]).digest(3 * dayMs));
  });

  it("are bounded, and say what to do at the bound", () => {
    const full = new TrustSet(Array.from({ length: tokensMax }, (_, n) => token(n.toString(16).padStart(16, "0"))));
    expect(() => { full.assertRoomFor("token"); }).toThrow(/--ttl/u);
    expect(() => { full.assertRoomFor("member"); }).not.toThrow();
  });

  it("cannot name a file outside their directory: their ids are hexadecimal", () => {
    for (const bad of [{ ...forgotten(), nodeId: "../../../../etc/passwd" }, { ...token(), tokenId: "../x" }, { ...member(), nodeId: "A".repeat(32) }]) {
      expect(trustRecordSchema.safeParse(bad).success).toBe(false);
    }
    expect(recordKey(member())).toBe(`member.${a}.0123456789abcdef`);
  });
});
