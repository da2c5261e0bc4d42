// What an ordinary resolver does for minid.local: one question from a port of its own, one answer. Prints the address; nothing after a second.
// Argument: the address of the interface to ask on.
import { createSocket } from "node:dgram";
import dnsPacket from "dns-packet";

const query = dnsPacket.encode({ type: "query", id: 4_711, questions: [{ name: "minid.local", type: "A" }] });
const socket = createSocket({ type: "udp4" });
const ask = () => { socket.send(query, 5_353, "224.0.0.251"); };
const repeat = setInterval(ask, 200);
const end = (address) => { clearInterval(repeat); clearTimeout(late); socket.close(); process.stdout.write(`${address}\n`); };
const late = setTimeout(() => { end(""); }, 1_000);
socket.on("message", (message) => {
  const record = dnsPacket.decode(message).answers.find((each) => each.type === "A" && each.name === "minid.local");
  if (record) end(record.data);
});
socket.bind(0, "0.0.0.0", () => { socket.setMulticastInterface(process.argv[2]); ask(); });
