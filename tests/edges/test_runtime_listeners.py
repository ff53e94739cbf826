"""The agent's search for the lines that add listeners which an EventEmitter of a Node keeps, in a Node of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.runtime.node import AGENT

PROGRAM = """
const listeners = require(process.argv[2] + '/listeners.js')
const { EventEmitter } = require('events')
const { Readable } = require('stream')
const { on, addListener } = EventEmitter.prototype
const bus = new EventEmitter().setMaxListeners(0)
const stream = new Readable({ read () {} }).setMaxListeners(0)
for (let i = 0; i < 10; i++) { bus.on('news', () => {}); stream.on('sent', () => {}) }
listeners.begin(below => { const held = {}; Error.captureStackTrace(held, below); return held.stack })
function adds () { bus.addListener('news', () => {}) }
function once () { stream.once('sent', () => {}) }
function removes () { const heard = () => {}; bus.on('news', heard); bus.off('news', heard) }
function ownEmitter () { new EventEmitter().on('news', () => {}) }
for (let i = 0; i < 20; i++) { adds(); once(); removes(); ownEmitter() }
const counts = {}
for (const stack of listeners.kept()) {
  const name = /at (\\w+) \\(.*service\\.js/.exec(stack)[1]
  counts[name] = (counts[name] || 0) + 1
}
listeners.end()
const same = EventEmitter.prototype.on === on && EventEmitter.prototype.addListener === addListener
console.log(JSON.stringify({ counts, same, left: listeners.added.length }))
"""


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_lines_that_add_listeners_that_stay_are_counted_and_nodes_own_function_is_put_back(
    tmp_path: Path,
) -> None:
    program = tmp_path / "service.js"
    program.write_text(PROGRAM)
    done = subprocess.run(
        ["node", str(program), str(AGENT.parent)], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"counts": {"adds": 20, "once": 20}, "same": True, "left": 0}
