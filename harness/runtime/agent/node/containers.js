'use strict'
// Which containers of the service gain elements, what holds them, and which lines add to them.
//
// A heap snapshot would answer the same, but one of a bare Node stops the service for 230 ms of CPU time (measured, Node
// 20). The inspector's queryObjects takes 60 ms, nearly all of it a collection; every loop after it runs in slices.
// No code of the service runs, unless it has replaced Error.prepareStackTrace: properties are read by their descriptors,
// lengths by the methods of the built-in classes.

const { LARGE_HEAP, SECONDS, state, className, clock, everything, isObject, keys, kindOf, valueOf } = require('./reflect')
const { names } = require('./holders')

const LEAST = 5 // elements that a container must have gained
const MOST = 4 // containers that are described
const WATCHED = 3 // containers whose additions are recorded
const MOST_OBJECTS = 1_000_000
// The object that holds a growing container is one of few of its class: of each class, so many instances are searched.
const MOST_ALIKE = 1000
const MOST_PLAIN = 20_000 // the same of plain objects, which are many in every service
const MOST_ADDED = 10_000 // additions whose stack is recorded: 10 µs each
const STACK_DEPTH = 25
const ADDING = { Array: ['push', 'unshift', 'splice'], Map: ['set'], Set: ['add'] }

const types = require('util').types
const hasOwn = (one, name) => Object.prototype.hasOwnProperty.call(one, name)
const mapSize = Object.getOwnPropertyDescriptor(Map.prototype, 'size').get
const setSize = Object.getOwnPropertyDescriptor(Set.prototype, 'size').get
let lengths = new WeakMap() // container → length at first
let firsts = new WeakMap() // first element → length of its array: one that is copied to grow keeps its first element
let between = new WeakMap() // container → length when watching began
let watched = [] // [{ one: container, kind, methods: [[name, function]], added: Map of stack → [element] }]
let recorded = 0

// Passes every container with its kind and length to ``look``. Returns whether there was time for all.
async function lookAtAll (list, look, time) {
  const keyed = process.memoryUsage().heapUsed < LARGE_HEAP
  const bare = new Set() // objects without a prototype are not in the list: they are values of others
  const kinds = new Map() // prototype → instances so far
  const visit = async one => {
    if (state.ours.has(one) || one === list) return
    const kind = kindOf(one)
    if (kind === 'Array') look(one, kind, one.length)
    else if (kind === 'Map') look(one, kind, mapSize.call(one))
    else if (kind === 'Set') look(one, kind, setSize.call(one))
    else if (kind && keyed) {
      const names = keys(one)
      if (names.length >= LEAST) look(one, kind, names.length)
      const prototype = Object.getPrototypeOf(one)
      const instances = (kinds.get(prototype) || 0) + 1
      kinds.set(prototype, instances)
      if (instances > (prototype === Object.prototype ? MOST_PLAIN : MOST_ALIKE)) return
      for (const name of names) {
        const value = valueOf(one, name)
        if (typeof value === 'object' && value !== null && !types.isProxy(value) && Object.getPrototypeOf(value) === null) {
          bare.add(value)
        }
        if (time.slice.over()) await time.slice.next()
      }
    }
  }
  for (const one of list) {
    await visit(one)
    if (time.slice.over()) await time.slice.next()
    if (time.over()) return false
  }
  for (const one of bare) { // the set grows while it is walked
    await visit(one)
    if (time.over()) return false
  }
  bare.forEach(one => list.push(one))
  return true
}

// Remember how long each container is.
async function begin () {
  lengths = new WeakMap()
  firsts = new WeakMap()
  const time = clock()
  const complete = await lookAtAll(everything(), (one, kind, length) => {
    lengths.set(one, length)
    if (kind === 'Array' && length >= LEAST && isObject(valueOf(one, 0))) firsts.set(valueOf(one, 0), length)
  }, time)
  return { partial: complete ? undefined : `containers were not all measured within ${SECONDS} s of CPU time` }
}

// lasting: only containers that have also grown since watching began; those of a lazily loaded module of Node grow once.
async function grownOf (list, time, lasting) {
  let most = []
  const complete = await lookAtAll(list, (one, kind, length) => {
    if (length < LEAST) return
    // An object that is new has its properties: it is not a dictionary.
    if (kind === 'Object' && !lengths.has(one) && !between.has(one)) return
    const before = lengths.get(one) ?? (kind === 'Array' ? firsts.get(valueOf(one, 0)) : undefined) ?? 0
    const gain = length - before
    if (gain < LEAST || (lasting && length - (between.get(one) ?? 0) < LEAST) || (most.length === MOST && gain <= most[MOST - 1].gain)) return
    most.push({ one, kind, gain })
    most = most.sort((a, b) => b.gain - a.gain).slice(0, MOST)
  }, time)
  // A container that was created since counts as grown; it is small beside one that retains something of each stream.
  return { most: most.filter(({ gain }) => gain * 10 >= most[0].gain), complete }
}

function lastOf (one, kind) {
  if (kind === 'Array') return valueOf(one, one.length - 1)
  let last
  if (kind === 'Map') Map.prototype.forEach.call(one, value => { last = value })
  else if (kind === 'Set') Set.prototype.forEach.call(one, value => { last = value })
  else last = valueOf(one, keys(one).slice(-1)[0])
  return last
}

// From now on, record where elements are added to the containers that have gained most.
async function watch () {
  const list = everything()
  const time = clock()
  between = new WeakMap()
  await lookAtAll(list, (one, _, length) => { between.set(one, length) }, time)
  const { most } = await grownOf(list, time, false)
  for (const { one, kind } of most.filter(({ kind }) => kind in ADDING).slice(0, WATCHED)) {
    const entry = { one, kind, methods: [], added: new Map() }
    for (const name of ADDING[kind]) {
      const original = one[name]
      if (typeof original !== 'function' || hasOwn(one, name)) continue
      const recording = function (...elements) {
        if (this === one) note(entry, name, elements, recording)
        return Reflect.apply(original, this, elements)
      }
      try {
        Object.defineProperty(one, name, { value: recording, configurable: true, writable: true, enumerable: false })
        entry.methods.push([name, recording])
      } catch {} // frozen
    }
    state.ours.add(entry).add(entry.methods).add(entry.added)
    watched.push(entry)
  }
  state.ours.add(watched)
  return {}
}

function note (entry, name, elements, below) {
  if (++recorded > MOST_ADDED) return
  const element = name === 'splice' ? elements[2] : elements[0]
  const { stackTraceLimit } = Error
  const holder = {}
  Error.stackTraceLimit = STACK_DEPTH
  Error.captureStackTrace(holder, below)
  Error.stackTraceLimit = stackTraceLimit
  const stack = String(holder.stack)
  if (!entry.added.has(stack)) {
    const references = []
    state.ours.add(references)
    entry.added.set(stack, references)
  }
  // What leaves the container again is not kept alive by the record.
  entry.added.get(stack).push(isObject(element) ? new WeakRef(element) : { deref: () => element })
}

// How many of the recorded elements the container still has, by the stack that added them.
async function stacksOf (one, time) {
  const entry = watched.find(each => each.one === one)
  if (!entry) return []
  const inside = new Set()
  state.ours.add(inside)
  if (entry.kind === 'Array') {
    for (let index = Math.max(0, one.length - MOST_ADDED); index < one.length; index++) inside.add(one[index])
  }
  const has = entry.kind === 'Array'
    ? element => inside.has(element)
    : element => (entry.kind === 'Map' ? Map : Set).prototype.has.call(one, element)
  const found = []
  for (const [stack, elements] of entry.added) {
    let count = 0
    for (const each of elements) {
      const element = each.deref()
      if (element !== undefined && has(element)) count++
      if (time.slice.over()) await time.slice.next()
    }
    if (count) found.push([stack, count])
  }
  return found.sort((a, b) => b[1] - a[1]).slice(0, 20)
}

function forget () {
  for (const { one, methods } of watched) {
    for (const [name, recording] of methods) if (valueOf(one, name) === recording) delete one[name]
  }
  watched = []
  recorded = 0
  lengths = new WeakMap()
  between = new WeakMap()
  firsts = new WeakMap()
}

// The names of functions that allocated what is alive, or that the recorded stacks show adding to a container.
function adders (sampled) {
  const found = new Set(sampled)
  for (const { added } of watched) {
    for (const stack of added.keys()) {
      for (const match of stack.matchAll(/^ +at (?:async |new )?(?:[^\s(]*\.)?([\w$]+) (?:\[as .*\] )?\(/gm)) found.add(match[1])
    }
  }
  return found
}

// The containers that have grown since begin, the most first.
async function grown (lasting, sampled) {
  const list = everything()
  state.ours.add(list)
  const time = clock()
  const { most, complete } = await grownOf(list, time, lasting)
  const described = await names(list, most.map(({ one }) => one), time, adders(sampled))
  const answer = []
  for (const [index, { one, kind, gain }] of most.entries()) {
    answer.push({
      type: kind,
      gain,
      item: className(lastOf(one, kind)),
      name: described[index].name,
      file: described[index].file,
      added: await stacksOf(one, time)
    })
  }
  return {
    grown: answer,
    partial: complete && !time.over() ? undefined : `the owners of growing containers were not all found within ${SECONDS} s of CPU time`
  }
}

async function containers (inspector, makeSlices, step, own, counted, sampled) {
  state.session = inspector
  state.slices = makeSlices
  state.ours = new WeakSet(own)
  state.ours.add(watched)
  for (const entry of watched) {
    state.ours.add(entry).add(entry.methods).add(entry.added)
    entry.added.forEach(elements => { state.ours.add(elements); elements.forEach(each => state.ours.add(each)) })
  }
  if (counted > MOST_OBJECTS) return { grown: [], partial: `more than ${MOST_OBJECTS} objects: containers are not compared` }
  if (step === 'first') return begin()
  return step === 'watch' ? watch() : grown(step === 'lasting', sampled)
}

module.exports = { containers, forget }
