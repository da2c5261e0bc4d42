import { describe, expect, it } from "vitest";
import { nodeId } from "../../../../src/core/ids.js";
import { type JoinClaim, type JoinToken, admitProof, decodeToken, encodeToken, joinProof, newSecret, sameProof, tokenIdOf, verifierOf } from "../../../../src/daemon/security/token.js";

const token: JoinToken = { clusterId: "c1".repeat(16), caSha256: "ca".repeat(32), secret: newSecret(), expiresAtMs: 1_800_000_000_000, hints: ["10.0.0.1:50050", "mini.local:50050"] };
const claim: JoinClaim = { serverSha256: "5e".repeat(32), nodeId: nodeId("aa".repeat(16)), deviceId: "mini", csr: Buffer.from("csr") };

describe("a join token", () => {
  it("is one line without spaces and comes back as it was", () => {
    const line = encodeToken(token);
    expect(line).toMatch(/^minid1\.[A-Za-z0-9_-]+$/u);
    expect(decodeToken(` ${line}\n`)).toEqual(token);
    expect(decodeToken(encodeToken({ ...token, hints: [] })).hints).toEqual([]);
  });

  it("leaves out hints for which its line has no room, and can always be read", () => {
    const name = (letter: string): string => `${letter.repeat(63)}.`.repeat(4).slice(0, 253);
    const long = ["a", "b", "c", "d"].map((letter) => `${name(letter)}:50050`);
    expect(decodeToken(encodeToken({ ...token, hints: long })).hints).toEqual(long.slice(0, 2));
    expect(decodeToken(encodeToken({ ...token, hints: ["ü".repeat(600), "10.0.0.1:50050"] })).hints).toEqual(["10.0.0.1:50050"]);
  });

  it.each([
    ["cut short", (line: string) => line.slice(0, 60)],
    ["missing its last character", (line: string) => line.slice(0, -1)],
    ["with a changed character", (line: string) => `${line.slice(0, 50)}${line[50] === "A" ? "B" : "A"}${line.slice(51)}`],
    ["of another kind", () => "sk-abcdef"],
    ["far too long", (line: string) => line + "A".repeat(5_000)],
    ["empty", () => ""],
  ])("%s is refused without repeating it", (_how, damage) => {
    const line = damage(encodeToken(token));
    let message = "";
    try { decodeToken(line); } catch (error) { message = String(error); }
    expect(message).toContain("the join token");
    expect(message).toContain("minid token");
    if (line !== "") expect(message).not.toContain(line.slice(7, 40));
  });

  it("has an id and a verifier that are not each other's and not the secret's", () => {
    const names = [tokenIdOf(token.secret), verifierOf(token.secret), token.secret.toString("hex")];
    expect(new Set(names.map((name) => name.slice(0, 16))).size).toBe(3);
  });
});

describe("a proof", () => {
  const verifier = verifierOf(token.secret);

  it("holds for this secret, this server, this name and this key only", () => {
    const proof = joinProof(verifier, claim);
    expect(sameProof(proof, joinProof(verifier, claim))).toBe(true);
    const others = [
      joinProof(verifierOf(newSecret()), claim),
      joinProof(verifier, { ...claim, serverSha256: "5f".repeat(32) }),
      joinProof(verifier, { ...claim, nodeId: nodeId("ab".repeat(16)) }),
      joinProof(verifier, { ...claim, deviceId: "mini2" }),
      joinProof(verifier, { ...claim, csr: Buffer.from("other") }),
      admitProof(verifier, claim, "certificate", "ca"),
      proof.subarray(0, 31),
      Buffer.alloc(0),
    ];
    for (const other of others) expect(sameProof(proof, other)).toBe(false);
  });

  it("cannot be moved between neighbouring fields", () => {
    expect(joinProof(verifier, { ...claim, deviceId: "ab", csr: Buffer.from("c") }).equals(joinProof(verifier, { ...claim, deviceId: "a", csr: Buffer.from("bc") }))).toBe(false);
  });
});
