// A small SSE server on Node. /clean gives everything back; /object keeps one object, /timer one interval per
// connection. Prints its port.
'use strict'
const http = require('http')

const kept = []

class Kept {
  constructor () { this.since = 0 }
}

function keep () {
  kept.push(new Kept()) // planted object
}

function watch () {
  kept.push(setInterval(() => {}, 3600000)) // planted timer
}

const server = http.createServer((request, response) => {
  if (request.url === '/object') keep()
  if (request.url === '/timer') watch()
  response.writeHead(200, { 'Content-Type': 'text/event-stream' })
  response.write('data: hello\n\n')
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
