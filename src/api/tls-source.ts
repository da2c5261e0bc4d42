/**
 * The user's certificate and key for the HTTP API, read again when a file changes: renewals by certbot and its like need no restart.
 * A pair that does not fit together is not used: the files are being replaced, or somebody made a mistake, which is told once. The
 * last good pair stays.
 */
import { X509Certificate, createPrivateKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { MinidError } from "../core/errors.js";
import type { TlsFiles, TlsSource } from "./http-server.js";

const pemBytesMax = 1 << 20;
/** Looked at rather than watched: a watch follows the old file when a new one is renamed over it, and network disks tell nothing. */
const pollIntervalMs = 5_000;

export interface TlsPaths { readonly certFile: string; readonly keyFile: string }

export interface PolledTls extends TlsSource { stop(): void }

/** @throws MinidError config_invalid when the files cannot be used now. */
export function pollTlsFiles(paths: TlsPaths, onProblem: (message: string) => void, onReload: () => void, intervalMs = pollIntervalMs): PolledTls {
  let files = readPair(paths);
  let problem = "";
  const listeners = new Set<(files: TlsFiles) => void>();
  const look = (): void => {
    try {
      const next = readPair(paths);
      problem = "";
      if (next.cert.equals(files.cert) && next.key.equals(files.key)) return;
      files = next;
      for (const listener of listeners) listener(next);
      onReload();
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (message !== problem) onProblem(problem = message);
    }
  };
  const timer = setInterval(look, intervalMs);
  timer.unref();
  return {
    get files() { return files; },
    onChange(listener) { listeners.add(listener); return () => { listeners.delete(listener); }; },
    stop() { clearInterval(timer); },
  };
}

function readPair({ certFile, keyFile }: TlsPaths): TlsFiles {
  const pair = { cert: read("http_tls_cert", certFile), key: read("http_tls_key", keyFile) };
  let fits: boolean;
  try {
    fits = new X509Certificate(pair.cert).checkPrivateKey(createPrivateKey(pair.key));
  } catch (error) {
    throw new MinidError("config_invalid", `http_tls_cert ${certFile} and http_tls_key ${keyFile} must be PEM files, the key without a passphrase: ${error instanceof Error ? error.message : String(error)}.`, { cause: error });
  }
  if (!fits) throw new MinidError("config_invalid", `http_tls_key ${keyFile} is not the key of the first certificate in http_tls_cert ${certFile}: give the pair that belongs together.`);
  return pair;
}

function read(key: string, file: string): Buffer {
  let bytes: Buffer;
  try { bytes = readFileSync(file); } catch (error) {
    throw new MinidError("config_invalid", `${key} ${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? String(error)}): check the path, and that minid's user may read it.`, { cause: error });
  }
  if (bytes.length > pemBytesMax) throw new MinidError("config_invalid", `${key} ${file} has ${bytes.length} bytes: that is no PEM file.`);
  return bytes;
}
