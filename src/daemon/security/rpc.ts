/** The Admission and TrustExchange services with their types: what proto/agent.proto says, in TypeScript. */
import type grpc from "@grpc/grpc-js";
import { loadProto } from "../../core/proto.js";
import { toServiceError } from "../../core/rpc-errors.js";

/** Of Join; raised when an older node could not understand the reply. */
export const joinProtocol = 1;

export interface JoinRequest {
  readonly protocol: number;
  readonly tokenId: string;
  readonly nodeId: string;
  readonly deviceId: string;
  readonly csr: Buffer;
  readonly proof: Buffer;
}

export interface JoinReply {
  readonly clusterId: string;
  readonly clusterName: string;
  readonly certificate: string;
  readonly ca: string;
  readonly caKey: string;
  readonly records: readonly string[];
  readonly peers: readonly string[];
  readonly proof: Buffer;
}

export interface TrustRecords { readonly records: readonly string[] }

type Unary<Request, Reply> = (request: Request, options: grpc.CallOptions, callback: (error: grpc.ServiceError | null, reply?: Reply) => void) => grpc.ClientUnaryCall;

export interface AdmissionClient extends grpc.Client { readonly join: Unary<JoinRequest, JoinReply> }
export interface TrustExchangeClient extends grpc.Client { readonly exchange: Unary<TrustRecords, TrustRecords> }

/** An async function as a unary handler; whatever it throws becomes the call's status. */
export function unary<Request, Reply>(handle: (call: grpc.ServerUnaryCall<Request, Reply>) => Promise<Reply>): grpc.handleUnaryCall<Request, Reply> {
  return (call, callback) => {
    const answer = async (): Promise<void> => {
      let reply: Reply;
      try { reply = await handle(call); } catch (error) { callback(toServiceError(error)); return; }
      callback(null, reply);
    };
    void answer();
  };
}

interface AgentPackage { readonly minid: { readonly agent: { readonly v1: { readonly Admission: grpc.ServiceClientConstructor; readonly TrustExchange: grpc.ServiceClientConstructor; readonly Logs: grpc.ServiceClientConstructor; readonly Agent: grpc.ServiceClientConstructor } } } }

/** Reads the .proto file: keep the result. */
export function agentServices(): AgentPackage["minid"]["agent"]["v1"] {
  const proto: grpc.GrpcObject & Partial<AgentPackage> = loadProto("agent.proto");
  return (proto as grpc.GrpcObject & AgentPackage).minid.agent.v1;
}
