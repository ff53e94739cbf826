'use strict'
// What holds a container: "Hub.subscribers", "bus._events.news", the variable of a module or closure, a private field.

const {
  LARGE_HEAP, state, ask, className, constructorOf, fetch, fileOf, inside, internal, isObject, keys, kindOf, release, scripts,
  valueOf
} = require('./reflect')

const LEVELS = 4 // holders from the container outwards
// Classes that every service has: their name tells little, so the holder of such an object is searched for as well.
const GENERIC = new Set(['', 'Object', 'Array', 'Map', 'Set', 'EventEmitter', 'EventTarget', 'Function'])

// For each target the holder of the lowest rank: { owner, name, rank }.
async function holdersOf (list, targets, time) {
  const best = new Map()
  const wanted = new Set(targets)
  state.ours.add(best).add(wanted).add(targets)
  const found = (target, owner, name, rank) => {
    const known = best.get(target)
    if (!known || rank < known.rank) best.set(target, { owner, name, rank })
  }
  const keyed = process.memoryUsage().heapUsed < LARGE_HEAP
  for (const one of list) {
    if (state.ours.has(one) || ArrayBuffer.isView(one)) continue
    const kind = kindOf(one)
    const inner = kind === 'Array' ? Array.prototype.values.call(one) : kind === 'Map' ? Map.prototype.values.call(one) : []
    for (const value of inner) {
      if (wanted.has(value)) found(value, one, '', 5)
      if (time.slice.over()) await time.slice.next()
      if (time.over()) return best
    }
    // A plain object may have a million keys, which are listed at once.
    if (kind === 'Array' || (!keyed && kind === 'Object' && GENERIC.has(className(one)))) continue
    for (const key of keys(one)) {
      const value = valueOf(one, key)
      if (wanted.has(value)) {
        const name = String(typeof key === 'symbol' ? key.description : key)
        found(value, one, name, one === globalThis || typeof one === 'function' || !GENERIC.has(className(one)) ? 1 : 3)
      }
      if (time.slice.over()) await time.slice.next()
      if (time.over()) return best
    }
  }
  return best
}

// Private fields, for objects of classes that have some.
async function privateHolders (list, targets, time) {
  const best = new Map()
  const withPrivate = new Map()
  state.ours.add(best).add(withPrivate)
  for (const one of list) {
    if (typeof one !== 'object' || state.ours.has(one)) continue
    const made = constructorOf(one)
    if (!made) continue
    if (!withPrivate.has(made)) withPrivate.set(made, Function.prototype.toString.call(made).includes('#'))
    if (!withPrivate.get(made)) continue
    for (const each of inside(one).privateProperties || []) {
      const value = each.value?.objectId && fetch(each.value.objectId)
      if (targets.includes(value)) best.set(value, { owner: one, name: each.name, rank: 1 })
    }
    if (time.slice.over()) await time.slice.next()
    if (time.over() || best.size === targets.length) break
  }
  release()
  return best
}

// Variables of modules and closures. A function that adds to a container refers to its variable, so these functions are
// searched first; then the youngest functions, which are the service's rather than Node's.
async function variables (list, targets, time, urls, adders) {
  const best = new Map()
  const functions = list.filter(one => typeof one === 'function' && !state.ours.has(one)).reverse()
  const first = functions.filter(one => adders.has(valueOf(one, 'name')))
  state.ours.add(best).add(functions).add(first)
  for (const one of [...first, ...functions]) {
    if (best.size === targets.length || time.over()) break
    try {
      const seen = inside(one)
      const file = urls.get(internal(seen, '[[FunctionLocation]]')?.value.scriptId) || ''
      const scopes = internal(seen, '[[Scopes]]')?.objectId
      if (!file || file.startsWith('node:') || file.includes(__dirname) || !scopes) continue
      for (const scope of ask('Runtime.getProperties', { objectId: scopes, ownProperties: true }).result) {
        if (!scope.value?.objectId || /^Global/.test(scope.value.description)) continue
        const variable = valueOf(fetch(scope.value.objectId), 'object') // it is { description, object }
        if (!isObject(variable)) continue
        for (const key of keys(variable)) {
          const value = valueOf(variable, key)
          if (targets.includes(value)) best.set(value, { owner: null, name: String(key), rank: 0, file })
        }
      }
    } catch {} finally {
      release()
    }
    if (time.slice.over()) await time.slice.next()
  }
  return best
}

// From each container outwards: its name ("Hub.bus._events.news") and the file of its owner's class.
// adders: names of functions that were seen to add to them, or to allocate what they hold.
async function names (list, containers, time, adders) {
  const urls = scripts()
  const found = containers.map(one => ({ end: one, path: '', file: '', known: '' }))
  state.ours.add(found).add(containers)
  found.forEach(each => state.ours.add(each))
  for (let level = 0; level < LEVELS; level++) {
    const open = found.filter(each => each.end)
    const targets = [...new Set(open.map(each => each.end))]
    if (!targets.length || time.over()) break
    const best = await holdersOf(list, targets, time)
    for (const search of [privateHolders, variables]) {
      const missing = targets.filter(one => !best.has(one))
      if (missing.length) (await search(list, missing, time, urls, adders)).forEach((holder, one) => best.set(one, holder))
    }
    for (const each of open) {
      const holder = best.get(each.end)
      each.end = null
      if (!holder) continue
      const step = holder.name ? `${holder.name}${each.path ? '.' : ''}${each.path}` : each.path
      each.path = step
      if (holder.rank === 0) {
        each.known = step
        each.file = holder.file
        continue
      }
      const owner = holder.owner
      const name = owner === globalThis ? 'globalThis' : typeof owner === 'function' ? String(valueOf(owner, 'name')) : className(owner)
      const made = typeof owner === 'function' ? owner : constructorOf(owner)
      if (name === 'Module') {
        each.known = step
        each.file = String(valueOf(owner, 'filename') || '')
      } else if (owner === globalThis) {
        each.known = `globalThis.${step}`
        each.file = 'globalThis'
      } else if (holder.rank === 1) {
        each.known = `${name}.${step}`
        each.file = fileOf(made, urls)
      } else {
        each.known = /^Event/.test(name) ? `${name}.${step}` : ''
        each.end = owner
      }
    }
  }
  return found.map(each => ({ name: each.known || each.path, file: each.file }))
}

module.exports = { names }
