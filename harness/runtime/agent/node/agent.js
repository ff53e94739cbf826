'use strict'
// The agent for Node: answers the harness on a Unix socket. Loaded by NODE_OPTIONS=--require, before the program.
//
// It must not change the target: the server is unref'ed, so it never keeps the process alive; nothing is printed;
// errors are ignored; modules that cost anything are loaded when they are first needed. The
// socket has mode 0600 in a folder that only its own user can enter, which the kernel enforces.
//
// Protocol: connect, send one line (a command and a number), read one JSON object until end of file.

const DIRECTORY = process.env.HARNESS_RUNTIME_DIRECTORY
const MOST_SITES = 2000 // places of an answer
const STACK_DEPTH = 25 // frames
const SLICE = 20 // milliseconds of a long loop, until the service gets its turn
const HELD = 200 // milliseconds for which counting the objects may hold the service, beyond a collection
const FEW_OBJECTS = 300_000
// Beyond these, one uninterruptible call of V8 would hold the service for more than 200 ms: the answer is partial.
const MOST_OBJECTS = 2_000_000 // queryObjects: 0.1 s for a million (measured, Node 20)
const MOST_SAMPLED = 64 * 1024 * 1024 // bytes of heap grown while sampling: a million samples take 0.2 s to list
// Small enough that each kind of object of 300 connections is met; Node's own default is 512 KiB.
const SAMPLING_BYTES = 64

let collect = null
let session = null
let hook = null
let counted = 0 // objects, by the last count
let slow = 0 // counts in a row that held the service for longer than HELD beyond a collection
let heapAtStop = 0 // bytes, when objects were too many or too slow to count
let heapBefore = 0 // bytes, when sampling began
const resources = new Map() // async id → "type\0stack"
const sampled = new Set() // names of functions of the service whose allocations are alive

function collector () {
  if (collect === null) {
    if (typeof globalThis.gc === 'function') {
      collect = globalThis.gc
    } else {
      require('v8').setFlagsFromString('--expose-gc')
      collect = require('vm').runInNewContext('gc')
      require('v8').setFlagsFromString('--no-expose-gc')
    }
  }
  return collect
}

// Collects, and returns how long the last collection took, in milliseconds. Finalizers run as tasks between two
// collections; a third collection finds what they released.
async function collected () {
  const gc = collector()
  for (let round = 0; round < 3; round++) {
    gc()
    await new Promise(resolve => setImmediate(resolve))
  }
  const started = performance.now()
  gc()
  return performance.now() - started
}

function countObjects () {
  const { queryObjects } = require('v8')
  if (typeof queryObjects !== 'function') return null
  const warn = process.emitWarning // it would say once, on the target's stderr, that it is experimental
  process.emitWarning = () => {}
  try {
    return queryObjects(Object, { format: 'count' })
  } finally {
    process.emitWarning = warn
  }
}

function resourceTypes () {
  const counts = {}
  const active = typeof process.getActiveResourcesInfo === 'function' ? process.getActiveResourcesInfo() : []
  for (const type of active) counts[type] = (counts[type] || 0) + 1
  return counts
}

async function read () {
  const full = await collected()
  await new Promise(resolve => setImmediate(resolve))
  let partial
  // A heap that has been released is counted again: without that a late release of objects was never seen.
  if ((counted > MOST_OBJECTS || slow > 1) && process.memoryUsage().heapUsed < heapAtStop / 2) counted = slow = heapAtStop = 0
  if (counted > MOST_OBJECTS) partial = `more than ${MOST_OBJECTS} objects: they are no longer counted`
  else if (slow > 1) partial = `counting the objects held the service for more than ${HELD} ms: they are no longer counted`
  const started = performance.now()
  const objects = partial === undefined ? countObjects() : null
  counted = objects === null ? counted : objects
  // A small heap that takes as long waits for the processor: the count is not what holds the service.
  if (partial === undefined) slow = counted > FEW_OBJECTS && performance.now() - started - full > HELD ? slow + 1 : 0
  const memory = process.memoryUsage()
  if (counted > MOST_OBJECTS || slow > 1) heapAtStop = Math.max(heapAtStop, memory.heapUsed)
  return {
    version: process.versions.node,
    objects,
    heap_bytes: memory.heapUsed,
    heap_limit: require('v8').getHeapStatistics().heap_size_limit,
    external_bytes: memory.external,
    resources: resourceTypes(),
    partial
  }
}

function post (method, parameters) {
  return new Promise((resolve, reject) => {
    session.post(method, parameters, (error, result) => error ? reject(error) : resolve(result))
  })
}

// The stack of the caller of ``below``.
function stackBelow (below) {
  const { stackTraceLimit } = Error
  const holder = {}
  Error.stackTraceLimit = STACK_DEPTH
  Error.captureStackTrace(holder, below)
  Error.stackTraceLimit = stackTraceLimit
  return holder.stack
}

function remember (id, type) {
  if (type === 'PROMISE' || type === 'TickObject' || type === 'Immediate') return
  resources.set(id, `${type}\0${stackBelow(remember)}`)
}

// From now on, sample allocations that stay alive, and record where each asynchronous resource is created.
async function trace () {
  if (session === null) {
    const { Session } = require('inspector')
    session = new Session()
    session.connect()
    heapBefore = process.memoryUsage().heapUsed
    await post('HeapProfiler.enable')
    await post('HeapProfiler.startSampling', { samplingInterval: SAMPLING_BYTES })
    const { createHook } = require('async_hooks')
    hook = createHook({ init: remember, destroy: id => { resources.delete(id) } }).enable()
    require('./descriptors').begin(below => `FileDescriptor\0${stackBelow(below)}`)
    require('./listeners').begin(below => `EventListener\0${stackBelow(below)}`)
  }
  return { tracing: true }
}

// Which containers gain elements (containers.js): "first" measures them, "watch" records who adds to those that have grown.
async function containers (step) {
  if (session === null) return { error: 'not tracing' }
  return require('./containers').containers(session, slices, step, [resources, sampled, require('./descriptors').opened, require('./listeners').added], counted, sampled)
}

async function untrace () {
  if (session !== null) {
    require('./containers').forget()
    require('./descriptors').end()
    require('./listeners').end()
    hook.disable()
    resources.clear()
    sampled.clear()
    await post('HeapProfiler.stopSampling')
    await post('HeapProfiler.disable')
    session.disconnect()
    session = hook = null
  }
  return { tracing: false }
}

// What was allocated or created since tracing began and is alive, by function and by resource.
async function sites () {
  if (session === null) return { error: 'not tracing' }
  await collected()
  await new Promise(resolve => setImmediate(resolve)) // async_hooks' destroy is queued
  const grown = process.memoryUsage().heapUsed - heapBefore
  const partial = grown > MOST_SAMPLED
    ? `the heap grew by ${Math.round(grown / 1048576)} MiB while it was sampled: its lines are left out`
    : undefined
  const none = { samples: [], head: { callFrame: { functionName: '', url: '', lineNumber: 0 }, selfSize: 0, children: [] } }
  const profile = partial === undefined ? (await post('HeapProfiler.getSamplingProfile')).profile : none
  const slice = slices()
  const blocks = new Map() // node id → live samples
  for (const { nodeId } of profile.samples) {
    blocks.set(nodeId, (blocks.get(nodeId) || 0) + 1)
    if (slice.over()) await slice.next()
  }
  const allocations = []
  const left = [[profile.head, []]] // no recursion: a deep stack of the service would overflow that of the agent
  while (left.length > 0) {
    const [node, stack] = left.pop()
    const { functionName, url, lineNumber } = node.callFrame
    if (url.includes(__dirname)) continue
    const below = [[url, lineNumber + 1, functionName], ...stack].slice(0, STACK_DEPTH)
    if (node.selfSize > 0) {
      if (sampled.size < MOST_SITES && !url.startsWith('node:')) sampled.add(functionName)
      allocations.push({ bytes: node.selfSize, blocks: blocks.get(node.id) || 0, frames: below })
    }
    for (const child of node.children) left.push([child, below])
    if (slice.over()) await slice.next()
  }
  const groups = new Map()
  for (const key of [...resources.values(), ...require('./descriptors').opened.values(), ...require('./listeners').kept()]) {
    if (!key.includes(__dirname)) groups.set(key, (groups.get(key) || 0) + 1)
    if (slice.over()) await slice.next()
  }
  allocations.sort((a, b) => b.bytes - a.bytes)
  return {
    allocations: allocations.slice(0, MOST_SITES),
    resources: [...groups].slice(0, MOST_SITES),
    partial
  }
}

// Long loops run in slices of SLICE milliseconds, and the service gets its turn between two of them.
function slices () {
  let started = process.hrtime.bigint()
  let steps = 0
  return {
    over: () => (++steps & 255) === 0 && process.hrtime.bigint() - started > BigInt(SLICE * 1e6),
    next: async () => {
      await new Promise(resolve => setImmediate(resolve))
      started = process.hrtime.bigint()
    }
  }
}

const COMMANDS = { read, trace, untrace, sites, containers }

// One command after the other: an interrupted harness sends "untrace" while its "trace" still runs.
let turn = Promise.resolve()

async function answer (connection, line) {
  let result
  try {
    const [name, step] = line.trim().split(' ')
    const command = Object.prototype.hasOwnProperty.call(COMMANDS, name) ? COMMANDS[name] : null
    result = command ? await command(step) : { error: 'unknown command' }
  } catch (error) {
    result = { error: String(error && error.message) }
  }
  connection.end(JSON.stringify(result))
}

function start () {
  const fs = require('fs')
  const net = require('net')
  const { threadId } = require('worker_threads')
  const path = `${DIRECTORY}/node-${process.pid}-${threadId}.sock`
  const server = net.createServer({ allowHalfOpen: true }, connection => {
    let line = ''
    connection.on('error', () => connection.destroy())
    connection.setTimeout(60000, () => connection.destroy())
    connection.on('data', part => {
      line += part.toString('latin1')
      if (line.length > 256) connection.destroy()
      else if (line.endsWith('\n')) turn = turn.then(() => answer(connection, line)).catch(() => {})
    })
  })
  server.on('error', () => {})
  try { fs.unlinkSync(path) } catch {}
  server.listen({ path, exclusive: true }) // exclusive: a cluster's worker must not share its primary's socket
  server.unref()
  try { fs.chmodSync(path, 0o600) } catch {}
  process.on('exit', () => { try { fs.unlinkSync(path) } catch {} })
}

// Only when the program waits for the first time: a short program does not pay for loading the network modules, a server
// loads them anyway, and descriptors that the program opens at its start have the same numbers as without the agent.
if (DIRECTORY) {
  setTimeout(() => {
    try { start() } catch {}
  }, 0).unref()
}
