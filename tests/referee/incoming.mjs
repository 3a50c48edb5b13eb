// An SMSC built on node-smpp that keeps what it has for us until it is acknowledged.
//
// node incoming.mjs OUTPUT   prints its port; takes commands on stdin, one JSON document a line:
//   {"deliver": {"from": …, "to": …, "text": …}}   a text from a handset
//   {"binds": true | false}                        let receipts and texts go out, or hold them
//   {"most": 300}                                  send no more before as many were acknowledged
//   {"status": true}                               print how many wait and how many were taken
// OUTPUT gets one JSON line for each submit_sm and each answer to a deliver_sm. It ends with stdin.
//
// Each submit_sm gets receipts of a kind that its number decides: the usual one, the receipt
// before the response, an id in hexadecimal in the response and in decimal in the receipt, the
// receipt twice, ENROUTE after the final one, a receipt with its id in the TLV alone. Numbers that
// end with 99 are not delivered: the receipt of the last part says so.
import { createWriteStream } from "node:fs";
import { createInterface } from "node:readline";
import smpp from "smpp";

const WINDOW = 200; // deliver_sm without an answer, of each bind
const AGAIN = 200; // milliseconds after which a refused one comes again
const output = createWriteStream(process.argv[2], { flags: "a" });
const write = (line) => output.write(`${JSON.stringify(line)}\n`);
const sessions = [];
const waiting = [];
let open = false;
let taken = 0;
let acknowledged = 0;
let most = Infinity;
let turn = 0;

const underway = () => sessions.reduce((sum, bind) => sum + bind.held.size, 0);

function next() {
  // Round the binds, so that what belongs together comes over different ones.
  for (let tried = 0; tried < sessions.length; tried += 1) {
    turn = (turn + 1) % sessions.length;
    if (sessions[turn].hears && sessions[turn].held.size < WINDOW) return sessions[turn];
  }
  return undefined;
}

function pump() {
  while (open && waiting.length && acknowledged + underway() < most) {
    const bind = next();
    if (!bind) return;
    const item = waiting.shift();
    bind.held.add(item);
    bind.session.deliver_sm(item.pdu, (answer) => {
      if (!bind.held.delete(item)) return;
      write({ answered: answer.command_status, about: item.about });
      if (answer.command_status === 0) {
        acknowledged += 1;
        pump();
      } else {
        setTimeout(() => {
          waiting.push(item);
          pump();
        }, AGAIN);
      }
    });
  }
}

function deliver(about, pdu) {
  waiting.push({ about, pdu });
  pump();
}

function receipt(pdu, id, stat, { tlv = false } = {}) {
  const head = tlv ? "" : `id:${id} `;
  const about = {
    source_addr_ton: pdu.dest_addr_ton,
    source_addr_npi: pdu.dest_addr_npi,
    source_addr: pdu.destination_addr,
    destination_addr: pdu.source_addr,
    esm_class: 4,
    short_message: `${head}sub:001 dlvrd:001 submit date:2611211200 done date:2611211201 stat:${stat} err:000 text:`,
  };
  if (tlv) about.receipted_message_id = id;
  deliver({ id, stat }, about);
}

function receipts(pdu, number) {
  const { udh } = pdu.short_message;
  const [total, place] = udh?.[0] ? [udh[0][3], udh[0][4]] : [1, 1];
  const bad = pdu.destination_addr.endsWith("99") && place === total;
  const stat = bad ? "UNDELIV" : "DELIVRD";
  const decimal = `${700000 + number}`;
  switch (Number(pdu.destination_addr.slice(-3)) % 6) {
    case 1:
      return { id: decimal, early: true, send: () => receipt(pdu, decimal, stat) };
    case 2:
      return { id: (700000 + number).toString(16), send: () => receipt(pdu, decimal, stat) };
    case 3:
      return {
        id: decimal,
        send: () => {
          receipt(pdu, decimal, stat);
          receipt(pdu, decimal, stat);
        },
      };
    case 4:
      return {
        id: decimal,
        send: () => {
          receipt(pdu, decimal, stat);
          receipt(pdu, decimal, "ENROUTE");
        },
      };
    case 5:
      return { id: decimal, send: () => receipt(pdu, decimal, stat, { tlv: true }) };
    default:
      return { id: decimal, send: () => receipt(pdu, decimal, stat) };
  }
}

const server = smpp.createServer((session) => {
  const bind = { session, hears: false, held: new Set() };
  const welcome = (hears) => (pdu) => {
    const good = pdu.system_id === "ignition" && pdu.password === "secret";
    session.send(pdu.response(good ? { system_id: "keeper" } : { command_status: smpp.ESME_RINVPASWD }));
    if (!good) return;
    bind.hears = hears;
    sessions.push(bind);
    pump();
  };
  const leave = () => {
    const at = sessions.indexOf(bind);
    if (at >= 0) sessions.splice(at, 1);
    waiting.unshift(...bind.held);
    bind.held.clear();
    pump();
  };
  session.on("bind_transceiver", welcome(true));
  session.on("bind_receiver", welcome(true));
  session.on("bind_transmitter", welcome(false));
  session.on("submit_sm", (pdu) => {
    taken += 1;
    const made = receipts(pdu, taken);
    write({ id: made.id, source: pdu.source_addr, destination: pdu.destination_addr, text: pdu.short_message.message, registered_delivery: pdu.registered_delivery });
    if (pdu.registered_delivery && made.early) made.send();
    session.send(pdu.response({ message_id: made.id }));
    if (pdu.registered_delivery && !made.early) made.send();
  });
  session.on("unbind", (pdu) => {
    session.send(pdu.response());
    session.close();
  });
  session.on("enquire_link", (pdu) => session.send(pdu.response()));
  session.on("close", leave);
  session.on("error", () => session.destroy());
});

createInterface({ input: process.stdin }).on("line", (line) => {
  const command = JSON.parse(line);
  if (command.deliver) {
    const { from, to, text } = command.deliver;
    deliver(command.deliver, {
      source_addr_ton: 1,
      source_addr_npi: 1,
      source_addr: from,
      destination_addr: to,
      short_message: text,
    });
  }
  if (command.binds !== undefined) {
    open = command.binds;
    pump();
  }
  if (command.most !== undefined) {
    most = command.most;
    pump();
  }
  if (command.status) {
    process.stdout.write(`${JSON.stringify({ waiting: waiting.length + underway(), taken, acknowledged })}\n`);
  }
}).on("close", () => output.end(() => process.exit(0)));

server.listen(0, "127.0.0.1", () => process.stdout.write(`${server.address().port}\n`));
