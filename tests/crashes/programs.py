"""Small programs, each of which crashes in one way: the source of the logs in ``tests/crashes/logs``."""

# ruff: noqa: E501 - the programs are quoted as they are compiled

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Program:
    """language: c, go, cgo, java, node, python or rust. signature: the row of the table that its log must match.

    limit: ``ulimit`` arguments that the program runs under. options: arguments of the interpreter or the compiler.
    after: lines of the program's own error report (``hs_err``) that its log ends with.
    """

    language: str
    signature: str
    source: str
    limit: str = ""
    options: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    after: str = ""


C_HEAD = (
    "#include <stdlib.h>\n#include <string.h>\n#include <stdio.h>\n#include <assert.h>\n#include <unistd.h>\n"
)
ZMQ = "import os, zmq\n"

PROGRAMS: dict[str, Program] = {
    "go-cgo-sigsegv": Program(
        "cgo",
        "go-cgo-sigsegv",
        """
package main

/*
static int recv_frame(int *socket) { return *socket; }
static void wait_frame(void) { for (;;) { __asm__ volatile(""); } }
*/
import "C"
import "time"

type Client struct{}

func (c *Client) Recv() int { return int(C.recv_frame(nil)) }
func (c *Client) Wait()     { C.wait_frame() }

type HealthService struct{ client *Client }

func (h *HealthService) GetSystemHealth() int { return h.client.Recv() }

func main() {
	client := &Client{}
	go client.Wait()
	go func() { select {} }()
	time.Sleep(50 * time.Millisecond)
	go func() { (&HealthService{client}).GetSystemHealth() }()
	select {}
}
""",
    ),
    "go-map-writes": Program(
        "go",
        "go-concurrent-map",
        """
package main

type Hub struct{ streams map[int]int }

func (h *Hub) Register(n int) {
	for {
		h.streams[n]++
	}
}

func main() {
	hub := &Hub{streams: map[int]int{}}
	for n := 0; n < 8; n++ {
		go hub.Register(n)
	}
	select {}
}
""",
    ),
    "go-out-of-memory": Program(
        "go",
        "go-out-of-memory",
        """
package main

var history [][]byte

func record() { history = append(history, make([]byte, 64<<20)) }

func main() {
	for {
		record()
		for i := range history[len(history)-1] {
			history[len(history)-1][i] = 1
		}
	}
}
""",
        limit="-v 1000000",
    ),
    "go-too-many-files": Program(
        "go",
        "emfile",
        """
package main

import (
	"fmt"
	"os"
)

var open []*os.File

func main() {
	for {
		file, err := os.Open("/dev/null")
		if err != nil {
			panic(fmt.Sprintf("open config: %v", err))
		}
		open = append(open, file)
	}
}
""",
        limit="-n 32",
    ),
    "go-deadlock": Program(
        "go",
        "go-deadlock",
        """
package main

type Hub struct{ events chan int }

func (h *Hub) Next() int { return <-h.events }

func main() { (&Hub{make(chan int)}).Next() }
""",
    ),
    "go-nil-panic": Program(
        "go",
        "go-nil-pointer",
        """
package main

type Client struct{ name string }
type Hub struct{ client *Client }

func (h *Hub) Name() string { return h.client.name }

func main() { println((&Hub{}).Name()) }
""",
    ),
    "go-panic": Program(
        "go",
        "go-panic",
        """
package main

type Hub struct{ done chan struct{} }

func (h *Hub) Close() { close(h.done) }

func main() {
	hub := &Hub{make(chan struct{})}
	hub.Close()
	hub.Close()
}
""",
    ),
    "go-stack-overflow": Program(
        "go",
        "go-stack-overflow",
        """
package main

func walk(depth int) int { return walk(depth+1) + 1 }

func main() { println(walk(0)) }
""",
    ),
    "go-thread-limit": Program(
        "cgo",
        "go-threads",
        """
package main

/*
#include <unistd.h>
static void hold(void) { sleep(100); }
*/
import "C"
import "runtime/debug"

func check() { C.hold() }

func main() {
	debug.SetMaxThreads(20)
	for n := 0; n < 40; n++ {
		go check()
	}
	select {}
}
""",
    ),
    "go-sigsegv": Program(
        "go",
        "go-sigsegv",
        """
package main

import "unsafe"

type Frame struct{ size int }

func decode(at uintptr) int { return (*Frame)(unsafe.Pointer(at)).size }

func main() {
	println(decode(0xdead0000))
}
""",
    ),
    "libzmq-closed-descriptor": Program(
        "python",
        "zeromq-assertion",
        ZMQ
        + """
context = zmq.Context()
socket = context.socket(zmq.DEALER)
os.close(socket.get(zmq.FD))
socket.connect("tcp://127.0.0.1:9")
for _ in range(50):
    socket.poll(10)
""",
    ),
    "libzmq-epoll-emfile": Program(
        "python",
        "zeromq-epoll-emfile",
        ZMQ
        + """
kept = []
while True:
    try:
        kept.append(open("/dev/null"))
    except OSError:
        break
for _ in range(3):
    kept.pop().close()
zmq.Context().socket(zmq.DEALER)
""",
        limit="-n 64",
    ),
    "czmq-dangling": Program(
        "c",
        "dangling-socket",
        C_HEAD
        + """
#include <czmq.h>
int main(void) {
    zsock_t *client = zsock_new(ZMQ_DEALER);
    zsock_connect(client, "tcp://127.0.0.1:9");
    return 0;
}
""",
        options=("-lczmq", "-lzmq"),
    ),
    "czmq-destroyed-twice": Program(
        "c",
        "czmq-destroyed-socket",
        C_HEAD
        + """
#include <czmq.h>
int main(void) {
    zsock_t *client = zsock_new(ZMQ_DEALER);
    zsock_t *again = client;
    zsock_destroy(&client);
    zsock_destroy(&again);
    return 0;
}
""",
        options=("-lczmq", "-lzmq"),
    ),
    "python-sigsegv": Program(
        "python",
        "python-sigsegv",
        """
import ctypes, select, threading

def wait():
    select.select([], [], [])

def decode(frame):
    ctypes.string_at(frame)

def on_event():
    decode(8)

threading.Thread(target=wait, daemon=True).start()
on_event()
""",
        options=("-X", "faulthandler"),
    ),
    "python-abort": Program(
        "python",
        "python-abort",
        """
import os

def close_hub():
    os.abort()

close_hub()
""",
        options=("-X", "faulthandler"),
    ),
    "python-fatal": Program(
        "python",
        "python-fatal",
        """
import ctypes

def finalize():
    ctypes.PyDLL(None).Py_FatalError(b"the object was released twice")

finalize()
""",
    ),
    "python-gil": Program(
        "python",
        "python-fatal",
        """
import ctypes

def callback():
    ctypes.CDLL(None).PyThreadState_Get()

callback()
""",
    ),
    "python-memory": Program(
        "python",
        "python-memory",
        """
history = []

def record():
    history.append(bytearray(50_000_000))

while True:
    record()
""",
        limit="-v 1000000",
    ),
    "python-too-many-files": Program(
        "python",
        "emfile",
        """
import socket

kept = []

def check():
    kept.append(socket.socket())

while True:
    check()
""",
        limit="-n 32",
    ),
    "node-heap": Program(
        "node",
        "node-oom",
        """
const history = []
function record () { history.push(new Array(10000).fill({ at: history.length }), { text: 'x'.repeat(100) + history.length }) }
for (;;) record()
""",
        options=("--max-old-space-size=32",),
    ),
    "node-fatal": Program(
        "node",
        "node-fatal",
        """
const history = []
function record () { history.push(0) }
for (;;) record()
""",
        options=("--max-old-space-size=6000",),
    ),
    "node-uncaught": Program(
        "node",
        "node-uncaught",
        """
const { EventEmitter } = require('node:events')
class Hub { publish () { this.bus.emit('error', new Error('write after end')) } }
const hub = new Hub()
hub.bus = new EventEmitter()
hub.publish()
""",
    ),
    "node-too-many-files": Program(
        "node",
        "emfile",
        """
const fs = require('node:fs')
const kept = []
function check () { kept.push(fs.openSync('/dev/null')) }
for (;;) check()
""",
        limit="-n 64",
    ),
    "node-rejection": Program(
        "node",
        "node-uncaught",
        """
class Hub { async publish () { throw new TypeError('the stream is closed') } }
new Hub().publish()
""",
    ),
    "java-heap": Program(
        "java",
        "java-oom",
        """
import java.util.*;
public class Service {
    static final List<byte[]> HISTORY = new ArrayList<>();
    static void record() { HISTORY.add(new byte[1 << 20]); }
    public static void main(String[] arguments) { while (true) record(); }
}
""",
        options=("-Xmx32m",),
    ),
    "java-metaspace": Program(
        "java",
        "java-oom",
        """
import java.lang.reflect.*;
import java.util.*;
public class Service {
    static final List<Object> KEPT = new ArrayList<>();
    interface Check { void run(); }
    static void load() {
        ClassLoader loader = new ClassLoader(Service.class.getClassLoader()) {};
        KEPT.add(Proxy.newProxyInstance(loader, new Class<?>[] {Runnable.class}, (p, m, a) -> null));
    }
    public static void main(String[] arguments) { while (true) load(); }
}
""",
        options=("-XX:MaxMetaspaceSize=16m", "-Xmx64m"),
    ),
    "java-threads": Program(
        "java",
        "thread-exhaustion",
        """
public class Service {
    static void check() {
        new Thread(() -> { try { Thread.sleep(100000); } catch (InterruptedException e) { } }).start();
    }
    public static void main(String[] arguments) {
        try { while (true) check(); } catch (Throwable error) { error.printStackTrace(); Runtime.getRuntime().halt(1); }
    }
}
""",
        limit="-v 3500000",
        options=(
            "-Xmx32m",
            "-Xss64m",
            "-XX:ReservedCodeCacheSize=16m",
            "-XX:MaxMetaspaceSize=32m",
            "-XX:CompressedClassSpaceSize=16m",
            "-XX:+UseSerialGC",
        ),
    ),
    "java-hs-err": Program(
        "java",
        "java-hs-err",
        """
import java.lang.reflect.*;
public class Service {
    static sun.misc.Unsafe unsafe;
    static void decode(long at) { unsafe.putLong(at, 1L); }
    public static void main(String[] arguments) throws Exception {
        Field field = sun.misc.Unsafe.class.getDeclaredField("theUnsafe");
        field.setAccessible(true);
        unsafe = (sun.misc.Unsafe) field.get(null);
        decode(8);
    }
}
""",
        options=("-XX:-CreateCoredumpOnCrash",),
        after="hs_err",
    ),
    "java-native-memory": Program(
        "java",
        "java-native-memory",
        """

import java.util.*;
public class Service {
    static final List<byte[]> HISTORY = new ArrayList<>();
    static void record() { HISTORY.add(new byte[1 << 20]); }
    public static void main(String[] arguments) { while (true) record(); }
}
""",
        limit="-d 250000",
        options=("-Xms32m", "-Xmx1g", "-XX:+UseSerialGC", "-XX:-CreateCoredumpOnCrash"),
    ),
    "rust-panic": Program(
        "rust",
        "rust-panic",
        """
struct Hub { streams: Vec<u32> }
impl Hub { fn stream(&self, n: usize) -> u32 { self.streams[n] } }
fn main() { println!("{}", Hub { streams: vec![] }.stream(3)); }
""",
        environment=(("RUST_BACKTRACE", "1"),),
    ),
    "rust-stack-overflow": Program(
        "rust",
        "rust-stack-overflow",
        """
#[allow(unconditional_recursion)]
fn walk(depth: u64) -> u64 { std::hint::black_box(walk(depth + 1)) + 1 }
fn main() { println!("{}", walk(0)); }
""",
    ),
    "rust-allocation": Program(
        "rust",
        "rust-memory",
        """
fn main() {
    let mut history: Vec<Vec<u8>> = Vec::new();
    loop { history.push(vec![1; 64 << 20]); }
}
""",
        limit="-v 500000",
    ),
    "glibc-double-free": Program(
        "c",
        "glibc-heap",
        C_HEAD + "int main(void) { char *frame = malloc(24); free(frame); free(frame); return 0; }\n",
    ),
    "glibc-corrupted-top": Program(
        "c",
        "glibc-heap",
        C_HEAD
        + "int main(void) { char *frame = malloc(24); memset(frame, 0xff, 64); char *more = malloc(4096); return more == frame; }\n",
    ),
    "glibc-unsorted": Program(
        "c",
        "glibc-heap",
        C_HEAD
        + """int main(void) {
    char *a = malloc(2000), *b = malloc(2000), *c = malloc(2000);
    free(b); memset(a, 0x41, 2064); b = malloc(500); return b == c;
}
""",
    ),
    "glibc-invalid-pointer": Program(
        "c",
        "glibc-heap",
        C_HEAD + "int main(void) { char *frame = malloc(64); free(frame + 8); return 0; }\n",
    ),
    "glibc-assert": Program(
        "c",
        "c-assertion",
        C_HEAD
        + "static void decode(char *frame) { assert(frame != NULL); }\nint main(void) { decode(NULL); return 0; }\n",
    ),
    "glibc-stack-smashing": Program(
        "c",
        "stack-smashing",
        C_HEAD
        + 'int main(int n, char **v) { char frame[8]; memset(frame, 1, 20 + n); printf("%s", frame); return 0; }\n',
        options=("-fstack-protector-all",),
    ),
    "cpp-terminate": Program(
        "c++",
        "cpp-terminate",
        """
#include <stdexcept>
static void decode() { throw std::runtime_error("frame too short"); }
int main() { decode(); }
""",
    ),
    "asan-use-after-free": Program(
        "c",
        "sanitizer",
        C_HEAD
        + "static int decode(int *frame) { return *frame; }\nint main(void) { int *frame = malloc(24); free(frame); return decode(frame); }\n",
        options=("-fsanitize=address", "-g"),
    ),
}
