// An SMSC built on node-smpp, a decoder that is not ours: each submit_sm becomes one JSON line.
//
// node smsc.mjs OUTPUT [RESPONSE_DELAY_MS]   prints its port; ends when stdin ends.
import { createWriteStream } from "node:fs";
import smpp from "smpp";

const [path, delay = "0"] = process.argv.slice(2);
const output = createWriteStream(path, { flags: "a" });
let taken = 0;

function record(pdu, id) {
  const { message, udh } = pdu.short_message;
  output.write(
    `${JSON.stringify({
      id,
      source: pdu.source_addr,
      source_ton: pdu.source_addr_ton,
      source_npi: pdu.source_addr_npi,
      destination: pdu.destination_addr,
      destination_ton: pdu.dest_addr_ton,
      destination_npi: pdu.dest_addr_npi,
      data_coding: pdu.data_coding,
      esm_class: pdu.esm_class,
      registered_delivery: pdu.registered_delivery,
      udh: (udh ?? []).map((element) => element.toString("hex")),
      text: message,
    })}\n`,
  );
}

function receipt(session, pdu, id) {
  session.deliver_sm({
    source_addr_ton: pdu.dest_addr_ton,
    source_addr_npi: pdu.dest_addr_npi,
    source_addr: pdu.destination_addr,
    destination_addr: pdu.source_addr,
    esm_class: 4,
    short_message: `id:${id} sub:001 dlvrd:001 submit date:2611211200 done date:2611211201 stat:DELIVRD err:000 text:`,
  });
}

const server = smpp.createServer((session) => {
  const bind = (pdu) => {
    const good = pdu.system_id === "ignition" && pdu.password === "secret";
    session.send(
      pdu.response(
        good ? { system_id: "referee", sc_interface_version: 0x34 } : { command_status: smpp.ESME_RINVPASWD },
      ),
    );
  };
  session.on("bind_transceiver", bind);
  session.on("bind_transmitter", bind);
  session.on("submit_sm", (pdu) => {
    const id = `node-${(taken += 1)}`;
    record(pdu, id);
    setTimeout(() => {
      session.send(pdu.response({ message_id: id }));
      if (pdu.registered_delivery) receipt(session, pdu, id);
    }, Number(delay));
  });
  session.on("unbind", (pdu) => {
    session.send(pdu.response());
    session.close();
  });
  session.on("enquire_link", (pdu) => session.send(pdu.response()));
  session.on("error", () => session.destroy());
});

server.listen(0, "127.0.0.1", () => process.stdout.write(`${server.address().port}\n`));
process.stdin.resume();
process.stdin.on("end", () => output.end(() => process.exit(0)));
