/** The other members' `Answers` services: whom to ask, and the calls. One channel to each, closed when the member is gone. */
import type grpc from "@grpc/grpc-js";
import { dialTarget } from "../../core/dial.js";
import type { NodeId } from "../../core/ids.js";
import { fromServiceError } from "../../core/rpc-errors.js";
import { type Transport, peerName } from "../../core/transport.js";
import type { ClusterView } from "../cluster/contract.js";
import type { ClaimAsked } from "./ledger.js";
import type { AnswerUpdate } from "./record.js";
import { type AnswersClient, type Receipt, type Verdict, answersService, updateToWire, verdictFromWire } from "./wire.js";

export interface AnswerPeers {
  /** The members that can be asked now, without this node. */
  list(): readonly NodeId[];
  /** @throws MinidError when there is no answer within the time. */
  claim(node: NodeId, claim: ClaimAsked, timeoutMs: number): Promise<Verdict>;
  keep(node: NodeId, updates: readonly AnswerUpdate[], timeoutMs: number): Promise<Receipt>;
}

interface Channel { readonly target: string; readonly client: AnswersClient }

export class MemberAnswers implements AnswerPeers {
  readonly #transport: Transport;
  readonly #view: () => ClusterView;
  readonly #Client = answersService();
  readonly #channels = new Map<NodeId, Channel>();

  constructor(transport: Transport, view: () => ClusterView) {
    this.#transport = transport;
    this.#view = view;
  }

  list(): readonly NodeId[] {
    const members = this.#view().members.filter(({ self, state, agentAddresses }) => !self && (state === "alive" || state === "suspect") && agentAddresses.length > 0);
    const ids = members.map(({ nodeId }) => nodeId);
    for (const [node, { client }] of this.#channels) {
      if (ids.includes(node)) continue;
      client.close();
      this.#channels.delete(node);
    }
    return ids;
  }

  async claim(node: NodeId, claim: ClaimAsked, timeoutMs: number): Promise<Verdict> {
    return verdictFromWire(await this.#call(node, (client, done) => client.claim(claim, { deadline: Date.now() + timeoutMs }, done)));
  }

  keep(node: NodeId, updates: readonly AnswerUpdate[], timeoutMs: number): Promise<Receipt> {
    return this.#call(node, (client, done) => client.keep({ records: updates.map(updateToWire) }, { deadline: Date.now() + timeoutMs }, done));
  }

  close(): void {
    for (const { client } of this.#channels.values()) client.close();
    this.#channels.clear();
  }

  #call<Reply>(node: NodeId, start: (client: AnswersClient, done: (error: grpc.ServiceError | null, reply?: Reply) => void) => void): Promise<Reply> {
    const client = this.#clientOf(node);
    return new Promise((resolve, reject) => {
      start(client, (error, reply) => {
        if (error) reject(fromServiceError(error, "not_ready"));
        else if (reply) resolve(reply);
      });
    });
  }

  #clientOf(node: NodeId): AnswersClient {
    const target = dialTarget(this.#view().members.find(({ nodeId }) => nodeId === node)?.agentAddresses ?? []);
    const known = this.#channels.get(node);
    if (known?.target === target) return known.client;
    known?.client.close();
    const client = new this.#Client(target, this.#transport.channelCredentials(), this.#transport.channelOptions(peerName(node))) as grpc.Client as AnswersClient;
    this.#channels.set(node, { target, client });
    return client;
  }
}
