// A server whose every request adds to three containers, each held in another way. Prints its port.
'use strict'
const http = require('http')

class Order { constructor (id) { this.id = id } }

class Hub {
  #orders = new Set()
  add (id) { this.#orders.add(new Order(id)) } // planted private field
}

const hub = new Hub()
const byName = {}
let copied = []
let count = 0

function dictionary () {
  byName['order ' + ++count] = new Order(count) // planted dictionary
}

function copy () {
  copied = [...copied, new Order(count)] // planted copy
}

const server = http.createServer((_, response) => {
  hub.add(++count)
  dictionary()
  copy()
  response.writeHead(200, { 'Content-Type': 'text/event-stream' })
  response.write('data: hello\n\n')
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
