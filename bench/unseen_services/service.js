// A Node service of event streams with one behaviour, by its name. usage: node service.js PORT BEHAVIOUR
"use strict";
const fs = require("node:fs");
const http = require("node:http");

const [port, behaviour] = [Number(process.argv[2]), process.argv[3]];
const kept = new Map();
let served = 0;

if (behaviour === "swept-13") setInterval(() => kept.forEach((fd, key) => { fs.closeSync(fd); kept.delete(key); }), 13000);

const server = http.createServer((request, response) => {
  const number = served++;
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  const queue = [];
  let full = false;
  let sent = 0;
  const tick = setInterval(() => {
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
    } else if (behaviour === "lumpy" && number % 40 === 39) {
      for (let index = 0; index < 20; index++) kept.set(`${number} ${index}`, setInterval(() => {}, 3600000));
    }
  });
});
server.listen(port, "127.0.0.1", 511);
