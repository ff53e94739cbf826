// A Node service of event streams with one behaviour, by its name. usage: node service.js PORT BEHAVIOUR
"use strict";
const fs = require("node:fs");
const http = require("node:http");

const [port, behaviour] = [Number(process.argv[2]), process.argv[3]];
const kept = new Map();
const SNAPSHOT = "z".repeat(30000);
const QUOTES = "q".repeat(8450);
const samples = [];
const shutdown = new AbortController();
const agent = new http.Agent({ keepAlive: true, maxSockets: 6 });
let backendPort = 0;
let served = 0;
let random = 4321;

if (behaviour === "swept-13") setInterval(() => kept.forEach((fd, key) => { fs.closeSync(fd); kept.delete(key); }), 13000);
if (behaviour === "samples") {
  setInterval(() => samples.push({ at: new Date(), cpu: process.cpuUsage(), labels: [`n${samples.length}`] }), 75);
}

// The 1,300 sessions that were used last, as a Map keeps the order of insertion.
const remember = (number) => {
  kept.set(`session ${number}`, { opened: new Date(), topics: new Set([number % 7, number % 11]), seen: [number] });
  if (kept.size > 1300) kept.delete(kept.keys().next().value);
};

// The backend of agent-6. It is in this process, so both ends of its connections count.
if (behaviour === "agent-6") {
  const backend = http.createServer((request, response) => setTimeout(() => response.end('{"price": 12}'), 15));
  backend.keepAliveTimeout = 7000;
  backend.listen(0, "127.0.0.1", () => { backendPort = backend.address().port; });
}

// Calls back with what the backend answers. At most six requests at a time are sent, the others wait for a connection.
const ask = (answered) => {
  http.get({ agent, port: backendPort, host: "127.0.0.1", path: "/price" }, (answer) => {
    let text = "";
    answer.on("data", (piece) => { text += piece; });
    answer.on("end", () => answered(JSON.parse(text)));
  }).on("error", () => answered({}));
};

// A feed for each of 140 tenants, most of whose streams belong to few: what it published last, and a timer.
const feed = () => {
  random = (random * 1103515245 + 12345) % 2147483648;
  const tenant = Math.floor(140 * (random / 2147483648) ** 2);
  if (kept.has(tenant)) return;
  const last = Array.from({ length: 90 }, (_, index) => ({ index, text: `item ${index} of tenant ${tenant}`, seen: [] }));
  kept.set(tenant, { last, poll: setInterval(() => last.push(last.shift()), 4000) });
};

const server = http.createServer((request, response) => {
  const number = served++;
  if (behaviour === "agent-6") {
    ask(() => stream(number, request, response));
    return;
  }
  stream(number, request, response);
});

const stream = (number, request, response) => {
  if (response.destroyed) return;
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  if (behaviour === "lru-1300") remember(number);
  if (behaviour === "audit-reset") {
    request.socket.on("error", (error) => {
      if (error.code === "ECONNRESET") kept.set(number, fs.openSync("/dev/null", "a"));
    });
  }
  if (behaviour === "tenants-140") feed();
  if (behaviour === "shutdown") shutdown.signal.addEventListener("abort", () => response.end("event: bye\ndata: 1\n\n"));
  if (behaviour === "spill-1100" && number >= 1100) kept.set(number, fs.openSync("/dev/zero", "r")); // memory has no place
  const queue = [];
  let full = false;
  let sent = 0;
  const tick = setInterval(() => {
    if (behaviour === "skipping") { // a client that is behind by 96 kB gets no further snapshot
      if (response.writableLength < 96000) response.write(`id: ${sent++}\ndata: ${SNAPSHOT}\n\n`);
      return;
    }
    if (behaviour === "quotes-85") { // it never looks at what write() returns
      response.write(Buffer.from(`id: ${sent++}\ndata: ${QUOTES}\n\n`)); // as text, the events would share it
      return;
    }
    const line = `id: ${sent++}\ndata: ${"x".repeat(behaviour === "stalled" ? 600 : 8)}\n\n`;
    if (full) {
      if (behaviour === "stalled") queue.push(line + sent.toString().padStart(600, "y"));
    } else full = !response.write(line);
  }, 100);
  if (behaviour === "stalled") response.socket.setNoDelay(true);
  response.on("drain", () => { full = false; while (queue.length && !full) full = !response.write(queue.shift()); });
  response.on("close", () => {
    clearInterval(tick);
    if (behaviour === "late-22" || behaviour === "swept-13") {
      const fd = fs.openSync("/dev/null", "r");
      if (behaviour === "late-22") setTimeout(() => fs.closeSync(fd), 22000);
      else kept.set(number, fd);
    } else if (behaviour === "bytes-4200") {
      kept.set(number, Buffer.alloc(4200, number % 251));
    } else if (behaviour === "lumpy" && number % 40 === 39) {
      for (let index = 0; index < 20; index++) kept.set(`${number} ${index}`, setInterval(() => {}, 3600000));
    }
  });
};
server.listen(port, "127.0.0.1", 511);
