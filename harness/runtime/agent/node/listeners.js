'use strict'
// Which lines add listeners that an EventEmitter keeps, while tracing. Only an emitter that already has several listeners
// of an event is recorded: that of a request has one or two, one that is never cleaned up has hundreds.

const { EventEmitter } = require('events')

const SEVERAL = 5
const MOST = 20_000 // additions

let original = null
let ours = null
const added = [] // { emitter: WeakRef, type, listener: WeakRef, stack }

function begin (capture) {
  if (original !== null) return
  const { on } = EventEmitter.prototype
  if (EventEmitter.prototype.addListener !== on) return // somebody else has replaced one of them
  original = on
  ours = function (type, listener) {
    const known = this._events === undefined ? undefined : this._events[type]
    const result = Reflect.apply(on, this, arguments)
    if (Array.isArray(known) && known.length >= SEVERAL && added.length < MOST) {
      added.push({ emitter: new WeakRef(this), type, listener: new WeakRef(listener), stack: capture(ours) })
    }
    return result
  }
  Object.defineProperties(ours, Object.getOwnPropertyDescriptors(on))
  EventEmitter.prototype.on = EventEmitter.prototype.addListener = ours
}

function end () {
  if (original === null) return
  for (const name of ['on', 'addListener']) {
    if (EventEmitter.prototype[name] === ours) EventEmitter.prototype[name] = original // else the service has wrapped it
  }
  original = ours = null
  added.length = 0
}

// The stacks that added the listeners which are still registered.
function kept () {
  const sets = new Map() // emitter → Map of type → Set of listeners
  const found = []
  for (const { emitter, type, listener, stack } of added) {
    const one = emitter.deref()
    const callback = listener.deref()
    if (one === undefined || callback === undefined) continue
    if (!sets.has(one)) sets.set(one, new Map())
    const types = sets.get(one)
    if (!types.has(type)) {
      const list = one._events === undefined ? [] : one._events[type]
      types.set(type, new Set(Array.isArray(list) ? list : [list]))
    }
    if (types.get(type).has(callback)) found.push(stack)
  }
  return found
}

module.exports = { added, begin, end, kept }
