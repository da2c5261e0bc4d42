/** HTTPS with the user's certificate, taken anew when its files change. */
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { type PeerCertificate, type TLSSocket, connect } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { pollTlsFiles } from "../../../src/api/tls-source.js";
import { type KeyAndCertificate, createCa } from "../../../src/daemon/security/certificates.js";
import { frontDoor, listen, saying, ScriptedGenerator, smolModel, until } from "./support.js";

let directory: string;
const pairs: KeyAndCertificate[] = [];
const paths = () => ({ certFile: join(directory, "cert.pem"), keyFile: join(directory, "key.pem") });
/** As certbot does: whole files, renamed into place. */
const put = async (file: string, content: string) => { await writeFile(`${file}.new`, content); await rename(`${file}.new`, file); };
const install = async ({ certificate, key }: KeyAndCertificate) => { await put(paths().certFile, certificate); await put(paths().keyFile, key); };

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "minid-tls-"));
  for (const name of ["aa", "bb"]) pairs.push(await createCa(name.repeat(16), Date.now()));
});
afterAll(async () => { await rm(directory, { recursive: true, force: true }); });

const shownAt = (port: number): Promise<PeerCertificate> => new Promise((resolve, reject) => {
  const socket: TLSSocket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false }, () => { resolve(socket.getPeerCertificate()); socket.destroy(); });
  socket.on("error", reject);
});
const serialOf = async (port: number) => (await shownAt(port)).serialNumber;

describe("the front door under TLS", () => {
  it("answers over HTTPS, refuses plain HTTP, and shows a renewed certificate without a restart", async () => {
    await install(pairs[0]!);
    const problems: string[] = [];
    const tls = pollTlsFiles(paths(), (problem) => problems.push(problem), () => undefined, 20);
    const server = frontDoor(await smolModel(), new ScriptedGenerator(saying([5])), { tls });
    const port = Number(new URL(await listen(server)).port);
    try {
      const answer = await new Promise<string>((resolve, reject) => {
        request({ host: "localhost", port, path: "/health/live", rejectUnauthorized: false }, (response) => { text(response).then(resolve, reject); }).on("error", reject).end();
      });
      expect(JSON.parse(answer)).toEqual({ status: "live" });

      const plain = connectTcp(port, "127.0.0.1");
      let received = "";
      plain.on("data", (data) => { received += data.toString("latin1"); }).on("error", () => undefined);
      plain.write("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n");
      await new Promise((resolve) => { plain.once("close", resolve); });
      expect(received).not.toContain("HTTP/1.1 200");

      const first = await serialOf(port);
      // Half of a new pair is no pair: the old one stays, and the problem is told once.
      await put(paths().keyFile, pairs[1]!.key);
      await until(() => expect(problems).toEqual([expect.stringContaining("http_tls_key")]));
      expect(await serialOf(port)).toBe(first);
      await put(paths().certFile, pairs[1]!.certificate);
      await until(async () => expect(await serialOf(port)).not.toBe(first));
      expect(problems).toHaveLength(1);
    } finally { await server.close(); tls.stop(); }
  });

  it("says which file is wrong, and how", async () => {
    const open = () => pollTlsFiles(paths(), () => undefined, () => undefined).stop();
    await install(pairs[0]!);
    await put(paths().keyFile, pairs[1]!.key);
    expect(open).toThrow(/is not the key of the first certificate/u);
    await put(paths().certFile, "nonsense");
    expect(open).toThrow(/must be PEM files/u);
    await rm(paths().certFile);
    expect(open).toThrow(/http_tls_cert .* cannot be read \(ENOENT\)/u);
  });
});
