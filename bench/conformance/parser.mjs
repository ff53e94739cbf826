// Reads JSON lines, each a list of chunks in base64; writes a JSON line per stream: [type, last id, data] per event.
import readline from 'node:readline'
import {createParser} from 'eventsource-parser'

for await (const line of readline.createInterface({input: process.stdin})) {
  const decoder = new TextDecoder('utf-8', {ignoreBOM: true}) // the parser strips it itself
  const events = []
  let last = ''
  const parser = createParser({
    onId: (id) => (last = id), // at a dispatch, even without data
    onEvent: (event) => events.push([event.event || 'message', last, event.data]),
  })
  for (const chunk of JSON.parse(line)) {
    parser.feed(decoder.decode(Buffer.from(chunk, 'base64'), {stream: true}))
  }
  process.stdout.write(JSON.stringify(events) + '\n')
}
