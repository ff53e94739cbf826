// A small SSE server on Node. /clean gives everything back; /object keeps one object, /timer one interval, /file and
// /later one descriptor per connection; /closed closes what it opens. Prints its port.
'use strict'
const fs = require('fs')
const http = require('http')

const { openSync } = fs // whoever replaces it puts it back

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

function openTemplate () {
  return fs.openSync('/etc/hostname') // planted file
}

function openLater () {
  fs.open('/etc/hostname', 'r', error => { if (error) throw error }) // planted later
}

function openAndClose () {
  fs.closeSync(fs.openSync('/etc/hostname'))
  fs.open('/etc/hostname', (error, descriptor) => { if (!error) fs.close(descriptor) })
  fs.readFileSync('/etc/hostname')
}

const server = http.createServer((request, response) => {
  if (request.url === '/object') keep()
  if (request.url === '/timer') watch()
  if (request.url === '/file') openTemplate()
  if (request.url === '/later') openLater()
  if (request.url === '/closed') openAndClose()
  const same = fs.openSync === openSync ? 'Node' : 'another'
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'X-Open': same })
  response.write('data: hello\n\n')
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
