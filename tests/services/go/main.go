// A small SSE service on net/http, with pprof: main PORT HABIT. A leak is written THING@DRIVER.
package main

import (
	"container/list"
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

var (
	lock sync.Mutex
	kept []any
	pool = sync.Pool{New: func() any { return make([]byte, 32<<10) }}
	lru  = list.New()
	jobs = make(chan []byte)
	size int
	sink [][]byte
)

func keep(thing any) {
	lock.Lock()
	defer lock.Unlock()
	kept = append(kept, thing)
}

func wait(never chan struct{}) { <-never }

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// Upstream answers, but its answer's body is never closed by the one who asked.
func upstream() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	return "http://" + listener.Addr().String()
}

var things = map[string]func(){
	"goroutine": func() { go wait(make(chan struct{})) },
	"slice":     func() { keep(make([]byte, 2048)) },
	"object":    func() { keep(new([3]*int)) },
	"ticker": func() {
		ticker := time.NewTicker(100 * time.Millisecond)
		go func() {
			for range ticker.C {
			}
		}()
	},
	"file": func() {
		file, err := os.Open("/proc/self/exe")
		must(err)
		keep(file)
	},
	"mapping": func() {
		memory, err := syscall.Mmap(-1, 0, 4096, syscall.PROT_READ, syscall.MAP_SHARED|syscall.MAP_ANON)
		must(err)
		keep(memory)
	},
}

func remember(cap int) {
	lock.Lock()
	defer lock.Unlock()
	lru.PushFront(make([]byte, 1024))
	if lru.Len() > cap {
		lru.Remove(lru.Back())
	}
}

// The workers grow to eight as work comes side by side.
func work(data []byte) {
	select {
	case jobs <- data:
		return
	default:
	}
	lock.Lock()
	more := size < 8
	if more {
		size++
	}
	lock.Unlock()
	if more {
		go func() {
			for range jobs {
				time.Sleep(time.Millisecond)
			}
		}()
	}
	jobs <- data
}

func innocent(habit string) {
	switch habit {
	case "pool":
		buffer := pool.Get().([]byte)
		buffer[0]++
		pool.Put(buffer)
	case "cache":
		remember(2000)
	case "garbage":
		waste := make([][]byte, 8)
		for i := range waste {
			waste[i] = make([]byte, 16<<10)
		}
		sink = waste
	case "workers":
		work(nil)
	}
}

func main() {
	thing, driver, leaks := strings.Cut(os.Args[2], "@")
	origin := upstream()
	things["body"] = func() {
		answer, err := (&http.Client{Transport: &http.Transport{}}).Get(origin)
		must(err)
		keep(answer)
	}
	if leaks && things[thing] == nil {
		fmt.Fprintln(os.Stderr, os.Args[2]+": no such thing")
		os.Exit(2)
	}
	every := 20 * time.Millisecond
	if driver == "event" {
		every = 500 * time.Millisecond // a client that stays for one event is sent one
	}
	answer := 3 * time.Millisecond
	if driver == "early" {
		answer = 50 * time.Millisecond // clients are to leave before it, however busy the machine
	}
	act := func(now string) {
		if leaks && now == driver {
			things[thing]()
		}
	}
	go func() {
		for range time.Tick(50 * time.Millisecond) {
			act("time")
		}
	}()
	http.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		act("connection")
		innocent(os.Args[2])
		time.Sleep(answer)
		if r.Context().Err() != nil {
			act("early")
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for {
			fmt.Fprint(w, "data: hello\n\n")
			w.(http.Flusher).Flush()
			act("event")
			select {
			case <-r.Context().Done():
				return
			case <-time.After(every):
			}
		}
	})
	must(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
