// A small SSE service on Node: server.js PORT BEHAVIOUR. A leak is written THING@DRIVER; "+" joins several behaviours.
// A pattern ends in its figures: release-10 (seconds), bursts-10-200 (files a burst, at most).
'use strict'
const fs = require('fs')
const http = require('http')
const net = require('net')
const { EventEmitter } = require('events')

const [port, text] = [Number(process.argv[2]), process.argv[3]]
const kept = []
const cache = new Map()
const bus = new EventEmitter().setMaxListeners(0)
const pool = []
let count = 0
let written = 0
let transcript = Buffer.alloc(0)

class Kept {
  constructor () { this.since = 0 }
}

const upstream = net.createServer().listen(0, '127.0.0.1').unref()

const things = {
  object: () => kept.push(new Kept()),
  buffer: () => kept.push(Buffer.alloc(4096, 1)),
  // One buffer that grows by 4 kB a call, in steps of 64 kB: no object is added, and nothing in the heap.
  transcript: () => { if (++written % 16 === 0) transcript = Buffer.concat([transcript, Buffer.alloc(65536, 1)]) },
  timer: () => kept.push(setInterval(() => {}, 100)),
  file: () => kept.push(fs.openSync(__filename)),
  socket: () => kept.push(net.connect(upstream.address().port, '127.0.0.1')),
  listener: () => bus.on('news', () => count)
}

const benign = {
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

const open = () => fs.openSync(__filename)

// What a service does over time, by name. opened: returns the status of the response. left: the stream has ended. sent:
// instead of an ordinary event.
const patterns = {
  release: seconds => ({
    left: () => {
      const file = open()
      setTimeout(() => fs.closeSync(file), seconds * 1000)
    }
  }),
  // Without a timer: the next request closes what is old enough, as in many caches.
  expired: seconds => {
    const waiting = []
    return {
      opened: () => {
        while (waiting.length && waiting[0].until <= Date.now()) fs.closeSync(waiting.shift().file)
        return 200
      },
      left: () => waiting.push({ until: Date.now() + seconds * 1000, file: open() })
    }
  },
  sweep: seconds => {
    let waiting = []
    setInterval(() => {
      waiting.forEach(file => fs.closeSync(file))
      waiting = []
    }, seconds * 1000)
    return { left: () => waiting.push(open()) }
  },
  bursts: (gain, most) => {
    let last = 0
    return {
      opened: () => {
        const before = last
        last = Date.now()
        for (let i = 0; last - before > 500 && i < gain && pool.length < most; i++) pool.push(open())
        return 200
      }
    }
  },
  tenants: count => {
    const state = new Map()
    return {
      opened: () => {
        const tenant = Math.floor(Math.random() * count)
        if (!state.has(tenant)) state.set(tenant, open())
        return 200
      }
    }
  },
  published: () => {
    setInterval(() => kept.push(Buffer.alloc(5200, 1)), 200)
    return {}
  },
  capped: most => ({
    opened: () => {
      if (kept.length >= most) return 500
      kept.push(open())
      return 200
    }
  }),
  // 50 objects and about 9 kB for each connection; a timer that serves all of them makes the idle CPU rise.
  session: () => {
    const sessions = []
    setInterval(() => sessions.forEach(one => one.forEach(item => { item.count += item.text.length })), 50)
    return {
      opened: () => {
        sessions.push(Array.from({ length: 25 }, () => ({ count: 0, text: 'x'.repeat(100) + Math.random() })))
        return 200
      }
    }
  },
  held: () => ({
    sent: response => {
      response.history = response.history || []
      response.history.push(Buffer.alloc(10000, 'x').toString('latin1')) // flat: a repeated string shares its parts
      response.write('data: hello\n\n')
    }
  }),
  // Buffers lie outside the heap.
  'held-buffers': () => ({
    sent: response => {
      response.history = response.history || []
      response.history.push(Buffer.alloc(10000, 1))
      response.write('data: hello\n\n')
    }
  }),
  // Node buffers without limit what is written for a reader that does not read.
  unbounded: () => ({ sent: response => response.write('data: ' + 'x'.repeat(16384) + '\n\n') }),
  bounded: () => ({
    sent: response => {
      if (!response.writableNeedDrain) response.write('data: ' + 'x'.repeat(16384) + '\n\n')
    }
  }),
  unhealthy: () => ({
    opened: () => {
      kept.push(open())
      return 503
    }
  }),
  refusing: () => ({ opened: () => 503 })
}

function chosen (name) {
  const [thing, driver] = name.split('@')
  if (driver) return things[thing] && { act: now => { if (now === driver) things[thing]() }, driver }
  if (benign[thing]) return { act: () => {}, opened: () => { benign[thing](); return 200 } }
  const [, word, figures] = /^([a-z-]+?)((?:-\d+)*)$/.exec(name) || []
  const make = patterns[word]
  return make && { act: () => {}, ...make(...figures.split('-').slice(1).map(Number)) }
}

const behaviours = text.split('+').map(chosen)
if (!behaviours.every(Boolean)) {
  console.error(`${text}: no such behaviour`)
  process.exit(2)
}

const act = now => behaviours.forEach(one => one.act(now))
const has = driver => behaviours.some(one => one.driver === driver)
const sent = behaviours.map(one => one.sent).find(Boolean)

const server = http.createServer((request, response) => {
  act('connection')
  const refused = behaviours.map(one => one.opened ? one.opened() : 200).find(status => status !== 200)
  if (refused) {
    response.writeHead(refused, { Connection: 'close' })
    response.end()
    return
  }
  let answered = false
  let next
  const send = () => {
    sent ? sent(response) : response.write('data: hello\n\n')
    act('event')
  }
  setTimeout(() => {
    if (request.destroyed || request.socket.destroyed) return
    answered = true
    response.writeHead(200, { 'Content-Type': 'text/event-stream' })
    act('answered')
    send()
    next = setInterval(send, has('event') ? 500 : 20)
  }, has('early') || has('answered') ? 50 : 3)
  request.on('close', () => {
    clearInterval(next)
    if (!answered) act('early')
    behaviours.forEach(one => one.left && one.left())
  })
})
setInterval(() => act('time'), 50)
server.listen(port, '127.0.0.1', 1024)
