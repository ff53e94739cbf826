// An SSE service on Node: orders.js PORT LEAK keeps one thing for each stream.
'use strict'
const http = require('http')
const { EventEmitter } = require('events')

class Subscriber { constructor (id) { this.id = id; this.pending = [{ id }] } }

class Hub {
  constructor () {
    this.subscribers = []
    this.timers = new Set()
    this.bus = new EventEmitter().setMaxListeners(0)
  }

  subscriber () {
    this.subscribers.push(new Subscriber(this.subscribers.length)) // planted subscriber
  }

  timer () {
    this.timers.add(setInterval(() => {}, 3600000)) // planted timer
  }

  listener (response) {
    this.bus.on('news', () => response.id) // planted listener
  }
}

const hub = new Hub()
http.createServer((request, response) => {
  hub[process.argv[3]](response)
  response.writeHead(200, { 'Content-Type': 'text/event-stream' })
  response.write('data: hello\n\n')
}).listen(Number(process.argv[2]), '127.0.0.1')
