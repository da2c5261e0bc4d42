// `npm run demo`: nothing that dies takes an answer with it. Two nodes on this machine; a worker is killed in the middle of an answer,
// then rank 0's whole node in the middle of another; both answers finish, and are compared with what the same question gave undisturbed.
import { performance } from "node:perf_hooks";
import { compile, tool } from "./tools.mjs";

const answerTokens = 220;
const killAfterPieces = 70;
const storyPrompt = "Tell me a long story about a lighthouse keeper and a storm.";
const tripPrompt = "Explain in detail how to plan a journey around the world by train.";

const out = process.stdout;
const seconds = (ms) => `${(ms / 1000).toFixed(2)} s`;
const say = (text) => out.write(`\n[demo] ${text}\n`);

/** Streams an answer to the terminal, and does `deed` once in the middle of it. */
async function answerWhile(node, question, deed) {
  let doing = Promise.resolve();
  let killedAt;
  let nextTokenMs;
  const answer = await node.ask(question, {
    onText: (count, piece) => {
      if (killedAt !== undefined && nextTokenMs === undefined) nextTokenMs = performance.now() - killedAt;
      out.write(piece);
      if (count !== killAfterPieces) return;
      doing = deed().then(() => { killedAt = performance.now(); });
    },
  });
  out.write("\n");
  await doing;
  return { answer, nextTokenMs };
}

async function main() {
  compile();
  const { startCluster } = await tool("support/cluster.js");
  const { differences } = await tool("support/answer.js");

  say("starting two nodes on this machine; each is `minid up` with an agent and a worker of its own");
  const startedAt = performance.now();
  const cluster = await startCluster({ nodes: 2 });
  const interrupted = () => { void cluster.stop().then(() => process.exit(130)); };
  process.once("SIGINT", interrupted);
  try {
    const leader = await cluster.leader();
    const other = cluster.nodes.find((node) => node !== leader);
    const status = await other.status();
    for (const { device_id, rank, layers, worker } of status.devices) say(`${device_id}: rank ${rank}, layers ${layers[0]} to ${layers[1] - 1}, worker pid ${worker.pid}`);
    say(`ready after ${seconds(performance.now() - startedAt)}; asking both questions once, undisturbed`);
    const story = { prompt: storyPrompt, maxTokens: answerTokens, temperature: 0.7, seed: 7 };
    const trip = { prompt: tripPrompt, maxTokens: answerTokens, temperature: 0.7, seed: 42 };
    const undisturbed = { story: await other.ask(story), trip: await other.ask(trip) };

    say(`first question, through ${other.name}: "${storyPrompt}"\n`);
    const first = await answerWhile(other, story, async () => {
      const pid = await leader.pid("worker");
      out.write(`\n\n[demo] >>> kill -9 ${pid}: rank 0's worker is dead, its model and its cache are gone <<<\n\n`);
      await leader.kill("worker");
    });
    const victim = await cluster.ready();
    const survivor = cluster.nodes.find((node) => node !== victim);

    say(`second question, through ${survivor.name}: "${tripPrompt}"\n`);
    const second = await answerWhile(survivor, trip, async () => {
      out.write(`\n\n[demo] >>> kill -9 of everything on ${victim.name}: rank 0's whole node is gone <<<\n\n`);
      await victim.kill("node");
    });
    await cluster.ready();

    const rows = [
      ["rank 0's worker killed", first, undisturbed.story],
      ["rank 0's node killed", second, undisturbed.trip],
    ].map(([what, { answer, nextTokenMs }, plain]) => ({ what, answer, nextTokenMs, different: differences(answer, plain) }));
    say("summary");
    for (const { what, answer, nextTokenMs, different } of rows) {
      out.write(`  ${what.padEnd(24)} next token after ${seconds(nextTokenMs)}; ${answer.completionTokens} tokens, ${different.length === 0 ? "identical to the undisturbed answer" : `DIFFERENT: ${different.join("; ")}`}\n`);
    }
    if (rows.some(({ different }) => different.length > 0)) process.exitCode = 1;
  } finally {
    process.removeListener("SIGINT", interrupted);
    await cluster.stop();
  }
}

await main();
