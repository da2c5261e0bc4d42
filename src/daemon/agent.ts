/**
 * The agent put together: opens what the home holds, connects the pure cores with their drivers, and serves. Nothing is decided
 * here; what happens on a fault is told in docs/ARCHITECTURE.md.
 */
import { existsSync } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import grpc from "@grpc/grpc-js";
import { listenAtHome } from "../api/home-socket.js";
import { createServer } from "../api/server.js";
import { apiOptionsOf } from "../api/options-from-config.js";
import { pollTlsFiles } from "../api/tls-source.js";
import { snapshotStatusSource } from "../api/snapshot-status.js";
import type { ServedModel } from "../api/served-model.js";
import { bindableHost } from "../core/any-address.js";
import { type Clock, Timers, sleep } from "../core/clock.js";
import { dialTarget } from "../core/dial.js";
import { MinidError, toMinidError } from "../core/errors.js";
import { Lifecycle } from "../core/lifecycle.js";
import type { Log } from "../core/log.js";
import { announceSelf, removeRunFile } from "../core/run-file.js";
import { peerName, trustedTransport } from "../core/transport.js";
import { anyMemberName } from "../core/trust/peer.js";
import { Trust } from "../core/trust/trust.js";
import { type Assistant, openAssistant } from "../model/assistant.js";
import { openCheckpoint } from "../model/checkpoint.js";
import { resolveModel } from "../model/store.js";
import { defaultLedgerLimits } from "./answers/ledger.js";
import { MemberAnswers } from "./answers/peers.js";
import { serveAnswers } from "./answers/service.js";
import { SharedAnswers } from "./answers/shared-answers.js";
import { ClusterCore } from "./cluster/cluster.js";
import { clusterDefaults } from "./cluster/contract.js";
import { deliverHandler } from "./cluster/deliver-service.js";
import { ClusterDriver, type OuterEffect, readClusterRecord } from "./cluster/driver.js";
import { PeerLinks } from "./cluster/links.js";
import { PROTOCOL } from "./cluster/messages.js";
import { Refusals } from "./cluster/refusals.js";
import type { Config } from "./config/table.js";
import { Introducer, aliveMembers } from "./discovery/introducer.js";
import { AgentDoctor } from "./doctor/agent-doctor.js";
import { examineHandler, measureHandler } from "./doctor/examine-rpc.js";
import { isSystemService } from "./doctor/machine-look.js";
import { engineOf, localFacts, loopbackOf, ownAddresses, ownNames } from "./facts.js";
import { foundCluster } from "./identity/cluster.js";
import { generateHandler } from "./inference/generate-service.js";
import { LocalGenerator } from "./inference/local-generator.js";
import { ResumingGenerator } from "./inference/resuming-generator.js";
import { RingDriver } from "./inference/ring-driver.js";
import { defaultSchedulerLimits } from "./inference/scheduler-types.js";
import { ClusterLogs } from "./logs/cluster-logs.js";
import { serveLogs } from "./logs/service.js";
import { modelShape } from "./model-shape.js";
import { type PlanRank, type Plan, plannerDefaults } from "./planner/plan.js";
import { RingControl } from "./ring-control.js";
import { trustedKeys } from "./security/api-keys.js";
import { createAdmissionServer } from "./security/admission.js";
import { serveTrustExchange } from "./security/exchange.js";
import { renewIfDue } from "./security/renewer.js";
import { agentServices } from "./security/rpc.js";
import { type StatusSnapshot, buildStatus } from "./status.js";
import { workerConnector } from "./supervisor/connector.js";
import { Supervisor } from "./supervisor/driver.js";
import { absentWorker } from "./supervisor/facts.js";
import { loadRequestOf } from "./supervisor/stage.js";
import { Telemetry } from "./telemetry/telemetry.js";
import { TrustKeeper } from "./trust-keeper.js";

export interface AgentOptions {
  readonly home: string;
  readonly config: Config;
  /** minid's release. */
  readonly version: string;
  readonly clock: Clock;
  readonly log: Log;
  /** The agent cannot go on as it is (the home moved to another cluster) and must be started again. */
  readonly onReplaced: () => void;
}

export interface Agent {
  /** Leaves the cluster in order: hands leadership over, lets streams move, says goodbye. Idempotent. */
  stop(reason: string): Promise<void>;
}

/** Seconds since 2020: above any counter that this identity can have used, should its record be lost. */
const counterFloor = (wallMs: number): number => Math.floor(wallMs / 1_000) - 1_577_836_800;
/** How often the machine's addresses are looked at: nothing tells when they change. */
const addressPollMs = 1_000;
/** How often a draining node looks whether everything has moved. */
const drainPollMs = 50;

/** @throws MinidError config_invalid | model_* | home_unusable | port_in_use: each ends the process with one line. */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const { home, config, version, clock, log } = options;
  const lifecycle = new Lifecycle((message) => log.error({}, message));
  try {
    return await compose(options, lifecycle);
  } catch (error) {
    await lifecycle.stop("start failed");
    throw error;
  }

  async function compose({ onReplaced }: AgentOptions, life: Lifecycle): Promise<Agent> {
    // Stopped last: the worker beside us computes on for as long as this file names a living agent.
    life.onStop("run file", () => removeRunFile(home, "agent", process.pid));

    // --- who we are, and whom we trust
    const cluster = await foundCluster(home, { name: config.cluster_name, deviceId: config.device_id, clock });
    await renewIfDue(home, cluster, clock);
    const trust = Trust.open(home, { clock, onProblem: (problem) => log.error({ problem }, "the home's trust files cannot be used") });
    const transport = trustedTransport(trust);
    life.onStop("transport", () => transport.close());

    // --- what we serve
    const place = await resolveModel(config.model, home);
    const assistant = await openAssistant(place.directory);
    const checkpoint = await openCheckpoint(place.directory);
    const shape = modelShape(place.id, checkpoint);
    await checkpoint.close();

    // --- the status, before anything that can change it
    const status = (): StatusSnapshot => buildStatus({
      view: clusterDriver.view(), version, modelId: place.id, numerics: config.numerics,
      localWorker: supervisor.lastReply(),
      scheduler: control.leadership().kind === "leads" ? ringDriver.snapshot() : undefined,
      localConditions: [...clusterDriver.conditions(), ...introducer.conditions(aliveMembers(clusterDriver.view(), clock.now()))],
      telemetry: telemetry.view(),
    });
    const telemetry = new Telemetry({
      deviceId: config.device_id, nodeId: trust.nodeId, clock, log, vllmNames: config.metrics_vllm_names, version, otlp: { endpoint: config.otlp_endpoint, sampleRatio: config.otlp_sample_ratio },
      sources: { status, worker: () => supervisor.lastReply(), scheduler: () => ringDriver.snapshot(), queueMax: config.queue_max },
      view: () => clusterDriver.view(), send: (to, bulletin) => links.send(to, bulletin),
    });
    life.onStop("telemetry", () => telemetry.stop());

    // --- computing, when we are rank 0
    const connectOwnWorker = workerConnector(`${loopbackOf(config.grpc_host)}:${config.worker_port}`, peerName(trust.nodeId), transport);
    const ringDriver = new RingDriver({
      clock, log,
      limits: { ...defaultSchedulerLimits, queueMax: config.queue_max, stepTimeoutMs: config.step_timeout_ms },
      onLost: (error) => { supervisor.suspect(); control.lost(error); },
      observer: telemetry.ring,
    });
    const control = new RingControl({ clock, log, transport, driver: ringDriver, local: new LocalGenerator(ringDriver, clock), connectWorker: connectOwnWorker, prefillChunk: config.prefill_chunk });
    life.onStop("ring", () => control.close());

    // --- the worker beside us
    const supervisor = new Supervisor({
      home, clock, log, probeIntervalMs: config.probe_interval_ms, connect: connectOwnWorker,
      onFacts: (facts) => { telemetry.workerFacts(facts); tellFacts(); },
      onEvent: (event) => telemetry.supervisorEvent(event),
    });
    life.onStop("supervisor", () => supervisor.stop());
    const tellFacts = (): void => clusterDriver.input({ kind: "facts", facts: localFacts(config, version, supervisor.facts()) });

    // --- the cluster
    const durable = await readClusterRecord(home);
    const recordLost = durable === undefined && existsSync(join(home, "worker-epoch.json"));
    const core = new ClusterCore({
      identity: { nodeId: trust.nodeId, clusterId: trust.cluster.clusterId, clusterName: trust.cluster.name, protocol: PROTOCOL },
      config: {
        ...clusterDefaults,
        heartbeatIntervalMs: config.heartbeat_interval_ms, suspectAfterMs: config.suspect_after_ms, deadAfterMs: config.dead_after_ms,
        planner: { ...plannerDefaults, slots: config.slots_max, batchMax: config.batch_max, contextMax: config.context_max },
      },
      facts: localFacts(config, version, absentWorker),
      model: shape,
      durable,
      counterFloor: recordLost ? counterFloor(clock.wallMs()) : 0,
      now: clock.now(),
      wallMs: clock.wallMs(),
    });
    const links = new PeerLinks({ transport, anyMember: anyMemberName(trust.cluster.clusterId), trustDigest: () => trust.digest, onRefused: (nodeId) => refusals.refused(nodeId), log });
    life.onStop("links", () => links.close());
    const clusterDriver: ClusterDriver = new ClusterDriver({
      core, clock, links, home, log, tickIntervalMs: clusterDefaults.tickIntervalMs,
      onEffect: (effect) => execute(effect),
      onChange: () => control.update(clusterDriver.view()),
    });
    const refusals = new Refusals(() => clusterDriver.view(), (input) => clusterDriver.input(input));
    life.onStop("cluster", () => clusterDriver.stop());

    const execute = (effect: OuterEffect): void => {
      switch (effect.kind) {
        case "applyPlan": applyPlan(effect.plan, effect.rank); return;
        case "becomeLeader": introducer.announceLeader(true); return;
        case "stepDown": introducer.announceLeader(false); return;
        case "event":
          log.info({ ...effect.event }, `cluster: ${effect.event.kind}`);
          telemetry.clusterEvent(effect.event);
      }
    };
    const applyPlan = (plan: Plan, rank: PlanRank | undefined): void => {
      if (!rank) { supervisor.assign(undefined); return; }
      const local = { engine: engineOf(config), numerics: config.numerics, threads: config.threads };
      const directory = plan.model.modelId === place.id ? Promise.resolve(place.directory) : resolveModel(plan.model.modelId, home).then((found) => found.directory);
      directory.then((modelDir) => supervisor.assign(loadRequestOf(plan, rank, { ...local, modelDir })), (error: unknown) => {
        // Without the files the stage is asked for all the same: the worker refuses, and the cluster hears why.
        log.error({ modelId: plan.model.modelId, reason: toMinidError(error).message }, "the plan's model is not on this machine");
        supervisor.assign(loadRequestOf(plan, rank, { ...local, modelDir: plan.model.modelId }));
      });
    };

    const agentOf = (node: string): string => dialTarget(clusterDriver.view().members.find((member) => member.nodeId === node)?.agentAddresses ?? []);
    const keeper = new TrustKeeper({
      home, trust, transport, clock, log, onReplaced,
      addressOf: (node) => agentOf(node) || undefined,
      onForgotten: (node) => clusterDriver.input({ kind: "forget", nodeId: node }),
    });
    life.onStop("trust keeper", () => keeper.stop());

    const timers = new Timers((name, error) => log.error({ timer: name, error: String(error) }, "a timer failed"));
    life.onStop("timers", () => timers.stop());
    let addressesTold = ownAddresses(config).join(" ");
    const watchAddresses = (): void => {
      const addresses = ownAddresses(config).join(" ");
      if (addresses === addressesTold) return;
      log.info({ addresses }, "this machine's addresses changed");
      addressesTold = addresses;
      tellFacts();
    };

    // --- introductions
    const introducer = new Introducer({
      config, trust, version, incarnation: () => clusterDriver.view().incarnation, clock, log,
      onIntroduction: (introduction) => clusterDriver.input({ kind: "introduction", ...introduction }),
    });
    life.onStop("introducer", () => introducer.stop());

    // --- answers that can be asked for again elsewhere
    const memberAnswers = new MemberAnswers(transport, () => clusterDriver.view());
    const answers = new SharedAnswers({
      self: trust.nodeId, clock, peers: memberAnswers,
      limits: { ...defaultLedgerLimits, keepMs: config.idempotency_keep_ms, recordsMax: config.idempotency_keys_max },
    });
    life.onStop("answers", () => { answers.stop(); memberAnswers.close(); });

    const clusterLogs = new ClusterLogs({ home, transport, view: () => clusterDriver.view() });

    // --- the agents' port
    const server = new grpc.Server({ "grpc.max_receive_message_length": 64 << 20, "grpc.max_send_message_length": 64 << 20, "grpc.enable_channelz": 0 });
    server.addService(agentServices().Agent.service, {
      generate: generateHandler(() => control.leadership()),
      examine: examineHandler((deep) => doctor.examineSelf(deep)),
      measure: measureHandler,
      deliver: deliverHandler({
        onMessage: (from, message) => clusterDriver.input({ kind: "message", from, message }),
        onBulletin: (from, bulletin) => telemetry.bulletin(from, bulletin),
        onTrustDigest: (from, digest) => keeper.seen(from, digest),
      }),
    });
    serveTrustExchange(server, trust);
    serveAnswers(server, answers);
    serveLogs(server, home);
    const doctor = new AgentDoctor({
      home, config, clock, trust, transport, status, view: () => clusterDriver.view(), forgottenCallers: () => listener.forgottenCallers, systemService: isSystemService(process.env),
    });
    const admission = createAdmissionServer({
      trust, log, clock,
      peers: () => clusterDriver.view().members.flatMap((member) => member.agentAddresses),
      onAdmitted: async () => {
        const others = clusterDriver.view().members.filter((member) => !member.self && member.state === "alive");
        await Promise.all(others.map((member) => keeper.exchange(member.nodeId, agentOf(member.nodeId))));
      },
    });
    const listener = await transport.listen(server, { host: config.grpc_host, port: config.agent_port, log, admission });
    life.onStop("agent port", async () => { server.forceShutdown(); admission.forceShutdown(); await listener.close(); });

    // --- the front door
    const resuming = new ResumingGenerator({ leaders: control, clock, onRecovered: (recovery, requestId) => {
      log.info({ requestId, ...recovery }, "answer resumed");
      telemetry.answerRecovered(recovery, requestId);
    } });
    const model = servedModel(place.id, assistant, config, version, clock);
    const { http_tls_cert: certFile, http_tls_key: keyFile } = config;
    const tls = certFile !== undefined && keyFile !== undefined
      ? pollTlsFiles({ certFile, keyFile }, (problem) => log.error({ problem }, "the changed TLS files cannot be used, the old ones stay"), () => log.info({ certFile }, "TLS certificate read again"))
      : undefined;
    life.onStop("TLS files", () => tls?.stop());
    const homeConnections = new WeakSet<Socket>();
    const http = createServer({
      generator: resuming, log, clock, answers, observer: telemetry,
      models: { list: () => [model], find: (id) => (id === model.id ? model : undefined) },
      status: snapshotStatusSource(status, (accept) => telemetry.expose(accept)),
      keys: trustedKeys(trust, clock), homeConnections, hostNames: () => [...ownNames(config), ...config.http_allowed_hosts], ...(tls && { tls }),
      admin: {
        drain: (draining) => clusterDriver.input({ kind: "drain", draining }),
        examine: (deep) => doctor.examineCluster(deep),
        logs: (question, signal) => clusterLogs.tail(question, signal),
      },
    }, apiOptionsOf(config, version));
    life.onStop("front door", () => { http.server.closeAllConnections(); });
    await http.listen({ host: await bindableHost(config.http_host), port: config.http_port }).catch((error: NodeJS.ErrnoException) => {
      throw new MinidError("port_in_use", `cannot listen on ${config.http_host}:${config.http_port} (${error.code ?? error.message}): is another minid running? Otherwise choose another http_port`);
    });

    const atHome = await listenAtHome(home, http, homeConnections);
    life.onStop("home socket", () => atHome.close());
    announceSelf(home, "agent", { incarnation: String(core.view(clock.now()).incarnation), port: config.agent_port, httpPort: config.http_port });

    // --- go
    supervisor.start();
    clusterDriver.start();
    keeper.start();
    await telemetry.start();
    timers.every("own addresses", addressPollMs, watchAddresses);
    await introducer.start();
    log.info({ nodeId: trust.nodeId, clusterId: trust.cluster.clusterId, httpPort: config.http_port, model: place.id }, "agent started");

    life.onStop("drain", () => drain(clusterDriver, http.close(), config.drain_timeout_ms), config.drain_timeout_ms + 1_000);
    return { stop: (reason) => lifecycle.stop(reason) };
  }
}

/**
 * Takes no new requests, hands leadership and stages over, and waits, within the bound, until nothing in the cluster depends on
 * this node any more and the answers that stream through its own front door are complete: the ring that is left computes them.
 */
async function drain(cluster: ClusterDriver, frontDoorClosed: Promise<undefined>, timeoutMs: number): Promise<void> {
  let open = true;
  const closed = (): void => { open = false; };
  frontDoorClosed.then(closed, closed);
  cluster.input({ kind: "drain", draining: true });
  for (let waitedMs = 0; waitedMs < timeoutMs && (open || !cluster.view().drained); waitedMs += drainPollMs) await sleep(drainPollMs);
}

function servedModel(id: string, assistant: Assistant, config: Config, version: string, clock: Clock): ServedModel {
  return {
    id,
    created: Math.floor(clock.wallMs() / 1_000),
    contextMax: Math.min(config.context_max, assistant.spec.maxPositions),
    fingerprint: `minid-${version}-${engineOf(config)}-${config.numerics}`,
    assistant,
  };
}
