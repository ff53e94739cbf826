'use strict'
// Where each open file was opened, while tracing: Node keeps no object for a bare descriptor, so nothing else names its
// line. A FileHandle is a resource of its own, which the hook of agent.js sees.

const fs = require('fs')
const { syncBuiltinESMExports } = require('module')

const opened = new Map() // descriptor → stack
let wrapped = null // name → [the function of Node, ours]

function begin (capture) {
  if (wrapped !== null) return
  const { open, openSync, close, closeSync } = fs
  const note = (descriptor, stack) => { if (wrapped !== null) opened.set(descriptor, stack) }
  wrapped = {
    openSync: [openSync, function (...words) {
      const descriptor = openSync.apply(this, words)
      note(descriptor, capture(fs.openSync))
      return descriptor
    }],
    open: [open, function (...words) {
      const callback = words.pop()
      if (typeof callback !== 'function') return open.call(this, ...words, callback)
      const stack = capture(fs.open)
      return open.call(this, ...words, function (error, descriptor) {
        if (!error) note(descriptor, stack)
        return Reflect.apply(callback, this, arguments)
      })
    }],
    closeSync: [closeSync, function (descriptor, ...more) {
      opened.delete(descriptor)
      return closeSync.call(this, descriptor, ...more)
    }],
    close: [close, function (descriptor, ...more) {
      opened.delete(descriptor)
      return close.call(this, descriptor, ...more)
    }]
  }
  for (const [name, [original, ours]] of Object.entries(wrapped)) {
    Object.defineProperties(ours, Object.getOwnPropertyDescriptors(original))
    fs[name] = ours
  }
  syncBuiltinESMExports()
}

function end () {
  if (wrapped === null) return
  for (const [name, [original, ours]] of Object.entries(wrapped)) {
    if (fs[name] === ours) fs[name] = original // else the service has wrapped it meanwhile
  }
  wrapped = null
  opened.clear()
  syncBuiltinESMExports()
}

module.exports = { begin, end, opened }
