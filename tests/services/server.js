// A small SSE service on Node: server.js PORT HABIT. A leak is written THING@DRIVER.
'use strict'
const fs = require('fs')
const http = require('http')
const net = require('net')
const { EventEmitter } = require('events')

const [port, text] = [Number(process.argv[2]), process.argv[3]]
const [thing, driver] = text.split('@')
const kept = []
const cache = new Map()
const bus = new EventEmitter().setMaxListeners(0)
const pool = []
let count = 0

class Kept {
  constructor () { this.since = 0 }
}

const upstream = net.createServer().listen(0, '127.0.0.1').unref()

const things = {
  object: () => kept.push(new Kept()),
  buffer: () => kept.push(Buffer.alloc(4096, 1)),
  timer: () => kept.push(setInterval(() => {}, 100)),
  file: () => kept.push(fs.openSync(__filename)),
  socket: () => kept.push(net.connect(upstream.address().port, '127.0.0.1')),
  listener: () => bus.on('news', () => count)
}

const innocents = {
  healthy: () => {},
  cache: () => {
    cache.set(++count, 'x'.repeat(1000) + count)
    if (cache.size > 2000) cache.delete(cache.keys().next().value)
  },
  garbage: () => { for (let i = 0; i < 8; i++) kept[i] = Buffer.alloc(16384) },
  pool: () => { if (pool.length < 40) pool.push(fs.openSync(__filename)) },
  lookup: () => fs.stat(__filename, () => {}),
  debounce: () => setTimeout(() => {}, 700)
}

if (driver ? !things[thing] : !innocents[thing]) {
  console.error(`${text}: no such habit`)
  process.exit(2)
}

function act (now) {
  if (now === driver) things[thing]()
}

const server = http.createServer((request, response) => {
  act('connection')
  if (!driver) innocents[thing]()
  let answered = false
  let next
  const send = () => {
    response.write('data: hello\n\n')
    act('event')
  }
  setTimeout(() => {
    if (request.destroyed || request.socket.destroyed) return
    answered = true
    response.writeHead(200, { 'Content-Type': 'text/event-stream' })
    send()
    next = setInterval(send, driver === 'event' ? 500 : 20)
  }, driver === 'early' ? 50 : 3)
  request.on('close', () => {
    clearInterval(next)
    if (!answered) act('early')
  })
})
setInterval(() => act('time'), 50)
server.listen(port, '127.0.0.1', 1024)
