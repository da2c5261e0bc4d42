/**
 * Spreads the trust records between members: a node whose heartbeat carries another digest gets ours and gives us its own.
 * The sets only grow and merge by union, so one exchange in one direction of a pair makes both equal.
 */
import type grpc from "@grpc/grpc-js";
import { MinidError } from "../../core/errors.js";
import { fromServiceError } from "../../core/rpc-errors.js";
import { type TrustRecord, forgottenMax, keysMax, membersMax, tokensMax, trustRecordSchema } from "../../core/trust/records.js";
import type { Trust } from "../../core/trust/trust.js";
import { type TrustExchangeClient, type TrustRecords, agentServices, unary } from "./rpc.js";

const recordsMax = 2 * (membersMax + forgottenMax + 2 * tokensMax + 2 * keysMax);
const exchangeTimeoutMs = 2_000;

const encode = (trust: Trust): TrustRecords => ({ records: trust.records.list().map((record) => JSON.stringify(record)) });

/** Kinds that a newer member knows and we do not are left out. @throws MinidError invalid_value when there are too many. */
export function decodeRecords(message: TrustRecords): TrustRecord[] {
  if (message.records.length > recordsMax) throw new MinidError("invalid_value", `${message.records.length} trust records; at most ${recordsMax} can be sound.`);
  return message.records.flatMap((text) => {
    let value: unknown;
    try { value = JSON.parse(text); } catch { return []; }
    const parsed = trustRecordSchema.safeParse(value);
    return parsed.success ? [parsed.data] : [];
  });
}

/** Adds the service to the members' server. */
export function serveTrustExchange(server: grpc.Server, trust: Trust): void {
  server.addService(agentServices().TrustExchange.service, {
    exchange: unary<TrustRecords, TrustRecords>(async (call) => {
      await trust.add(decodeRecords(call.request));
      return encode(trust);
    }),
  });
}

/**
 * Makes our records and one member's equal.
 * @param channel options and credentials of a member's channel (`memberChannelCredentials`).
 * @returns whether we learned anything. @throws MinidError not_ready when the member cannot be reached.
 */
export async function exchangeTrust(address: string, credentials: grpc.ChannelCredentials, options: grpc.ChannelOptions, trust: Trust): Promise<boolean> {
  const Client = agentServices().TrustExchange;
  const client = new Client(address, credentials, options) as grpc.Client as TrustExchangeClient;
  try {
    const reply = await new Promise<TrustRecords>((resolve, reject) => {
      client.exchange(encode(trust), { deadline: Date.now() + exchangeTimeoutMs }, (error, answer) => {
        if (error) reject(fromServiceError(error, "not_ready"));
        else if (answer) resolve(answer);
      });
    });
    return await trust.add(decodeRecords(reply));
  } finally { client.close(); }
}
