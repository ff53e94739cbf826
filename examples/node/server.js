// A counter, on Node's http. With LEAKY=1 the timer of a client who has left goes on ticking.
'use strict'
const http = require('http')

const leaky = process.env.LEAKY === '1'
let visits = 0

const server = http.createServer((request, response) => {
  let number = 0
  response.writeHead(200, { 'Content-Type': 'text/event-stream' })
  response.write(`data: visit ${++visits}\n\n`)
  const timer = setInterval(() => {
    response.write(`data: ${++number}\n\n`)
  }, 50)
  response.on('close', () => {
    if (!leaky) clearInterval(timer)
  })
})
server.listen(Number(process.env.PORT), '127.0.0.1')
