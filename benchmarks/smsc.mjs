// An SMSC on node-smpp that takes everything: the far side of benchmarks/smpp_transport.py.
//
// node benchmarks/smsc.mjs [--delay-ms N] [--receipts]   prints its port; when stdin ends it prints
// what it took as JSON: {"taken", "distinct", "cpu_seconds"}. The package is that of tests/referee.
import { createRequire } from "node:module";

const require = createRequire(new URL("../tests/referee/", import.meta.url));
const smpp = require("smpp");

const words = process.argv.slice(2);
const delay = words.includes("--delay-ms") ? Number(words[words.indexOf("--delay-ms") + 1]) : 0;
const sendsReceipts = words.includes("--receipts");
const recipients = new Set();
let taken = 0;

function answer(session, pdu, id) {
  session.send(pdu.response({ message_id: id }));
  if (sendsReceipts && pdu.registered_delivery) {
    session.deliver_sm({
      source_addr_ton: pdu.dest_addr_ton,
      source_addr_npi: pdu.dest_addr_npi,
      source_addr: pdu.destination_addr,
      destination_addr: pdu.source_addr,
      esm_class: 4,
      short_message: `id:${id} sub:001 dlvrd:001 submit date:2611211200 done date:2611211201 stat:DELIVRD err:000 text:`,
    });
  }
}

const server = smpp.createServer((session) => {
  const accept = (pdu) => session.send(pdu.response());
  session.on("bind_transceiver", accept);
  session.on("bind_transmitter", accept);
  session.on("enquire_link", accept);
  session.on("submit_sm", (pdu) => {
    taken += 1;
    recipients.add(pdu.destination_addr);
    const id = `node-${taken}`;
    if (delay > 0) setTimeout(answer, delay, session, pdu, id);
    else answer(session, pdu, id);
  });
  session.on("unbind", (pdu) => {
    session.send(pdu.response());
    session.close();
  });
  session.on("error", () => session.destroy());
});

server.listen(0, "127.0.0.1", () => process.stdout.write(`${server.address().port}\n`));
process.stdin.resume();
process.stdin.on("end", () => {
  const { user, system } = process.cpuUsage();
  const report = { taken, distinct: recipients.size, cpu_seconds: (user + system) / 1e6 };
  process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0));
});
