'use strict'
// Objects of the service as the inspector and reflection see them. No code of the service runs: properties are read by
// their descriptors, and proxies are left alone.

const types = require('util').types

const SECONDS = 2 // of CPU time for one command; what was found by then is the answer
const WAITED = 6 // seconds for one command at most, on a busy machine
const LARGE_HEAP = 256 * 1024 * 1024 // bytes; listing the keys of one large object cannot be interrupted
const GROUP = 'harness'
const handOver = Symbol.for('harness.handOver')

// session: of the inspector, in this process. slices: makes the turns of long loops. ours: objects of the agent itself.
const state = { session: null, slices: null, ours: new WeakSet() }

// In-process sessions answer before post returns.
function ask (method, parameters) {
  let result
  state.session.post(method, parameters, (error, answer) => {
    if (error) throw new Error(error.message)
    result = answer
  })
  return result
}

// The object behind a remote id.
function fetch (objectId) {
  let found
  Object.defineProperty(globalThis, handOver, { value: one => { found = one }, configurable: true })
  try {
    ask('Runtime.callFunctionOn', {
      objectId, functionDeclaration: 'function () { globalThis[Symbol.for("harness.handOver")](this) }'
    })
  } finally {
    delete globalThis[handOver]
  }
  return found
}

function everything () {
  try {
    const { result } = ask('Runtime.evaluate', { expression: 'Object.prototype', objectGroup: GROUP })
    return fetch(ask('Runtime.queryObjects', { prototypeObjectId: result.objectId, objectGroup: GROUP }).objects.objectId)
  } finally {
    ask('Runtime.releaseObjectGroup', { objectGroup: GROUP })
  }
}

const isObject = one => (typeof one === 'object' && one !== null && !types.isProxy(one)) || typeof one === 'function'

// The value of a property that is not a getter.
function valueOf (one, key) {
  try {
    const found = Object.getOwnPropertyDescriptor(one, key)
    return found && 'value' in found ? found.value : undefined
  } catch { return undefined }
}

function className (one) {
  if (typeof one !== 'object' || one === null) return typeof one === 'function' ? 'Function' : typeof one
  if (types.isProxy(one)) return 'Proxy'
  for (let at = Object.getPrototypeOf(one); at && !types.isProxy(at); at = Object.getPrototypeOf(at)) {
    const constructor = valueOf(at, 'constructor')
    if (typeof constructor === 'function' && !types.isProxy(constructor)) return String(valueOf(constructor, 'name') || '')
  }
  return ''
}

function constructorOf (one) {
  const prototype = Object.getPrototypeOf(one)
  const found = prototype && !types.isProxy(prototype) ? valueOf(prototype, 'constructor') : undefined
  return typeof found === 'function' && !types.isProxy(found) ? found : undefined
}

function keys (one) {
  try { return Reflect.ownKeys(one) } catch { return [] }
}

function kindOf (one) {
  if (Array.isArray(one)) return 'Array'
  if (types.isMap(one)) return 'Map'
  if (types.isSet(one)) return 'Set'
  return typeof one === 'function' || ArrayBuffer.isView(one) ? '' : 'Object'
}

function clock () {
  const slice = state.slices()
  const deadline = performance.now() + WAITED * 1000
  const begun = process.cpuUsage()
  const spent = () => { const { user, system } = process.cpuUsage(begun); return (user + system) / 1e6 }
  let calls = 0
  let late = false
  // Asking for the time costs more than most steps.
  return { slice, over: () => late || ((++calls & 63) === 0 && (late = performance.now() > deadline || spent() > SECONDS)) }
}

// Files of all scripts by number. The debugger is on for this moment alone: no breakpoint is set.
function scripts () {
  const urls = new Map()
  const parsed = ({ params }) => { urls.set(params.scriptId, params.url) }
  state.session.on('Debugger.scriptParsed', parsed)
  try {
    ask('Debugger.enable')
    ask('Debugger.disable')
  } finally {
    state.session.off('Debugger.scriptParsed', parsed)
  }
  return urls
}

// What the inspector alone sees of an object: private fields, the place and the scopes of a function.
function inside (one) {
  const key = Symbol.for('harness.inside')
  Object.defineProperty(globalThis, key, { value: one, configurable: true })
  try {
    const { result } = ask('Runtime.evaluate', { expression: 'globalThis[Symbol.for("harness.inside")]', objectGroup: GROUP })
    return ask('Runtime.getProperties', { objectId: result.objectId, ownProperties: true })
  } finally {
    delete globalThis[key]
  }
}

const internal = (found, name) => (found.internalProperties || []).find(each => each.name === name)?.value

function fileOf (one, urls) {
  if (typeof one !== 'function') return ''
  try {
    return urls.get(internal(inside(one), '[[FunctionLocation]]')?.value.scriptId) || ''
  } catch { return '' } finally { ask('Runtime.releaseObjectGroup', { objectGroup: GROUP }) }
}

function release () {
  ask('Runtime.releaseObjectGroup', { objectGroup: GROUP })
}

module.exports = {
  LARGE_HEAP, SECONDS, state, ask, className, clock, constructorOf, everything, fetch, fileOf, inside, internal, isObject,
  keys, kindOf, release, scripts, valueOf
}
