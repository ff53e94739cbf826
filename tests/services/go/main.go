// A small SSE service on net/http: main PORT BEHAVIOUR [no-pprof]. A leak is written THING@DRIVER or THING@DRIVER/N;
// "+" joins several behaviours. patterns.go has those that depend on time, on bursts, on tenants or on a limit.
package main

import (
	"container/list"
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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

var benign = []string{"healthy", "pool", "cache", "garbage", "workers"}

func benignBehaviour(behaviour string) {
	switch behaviour {
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

// A behaviour of the service: a planted leak, or a pattern of patterns.go.
type behaviour struct {
	name, thing, driver string
	nth                 int64 // every n-th time
	count               *atomic.Int64
	pattern             *pattern
}

func chosen(text string) []behaviour {
	behaviours := []behaviour{}
	for _, name := range strings.Split(text, "+") {
		thing, driver, leaks := strings.Cut(name, "@")
		driver, every, _ := strings.Cut(driver, "/")
		nth, err := strconv.ParseInt(every, 10, 64)
		if err != nil {
			nth = 1
		}
		if leaks && things[thing] == nil {
			fmt.Fprintln(os.Stderr, name+": no such thing")
			os.Exit(2)
		}
		made := patternOf(name)
		if !leaks && made == nil && !slices.Contains(benign, name) {
			fmt.Fprintln(os.Stderr, name+": no such behaviour")
			os.Exit(2)
		}
		behaviours = append(behaviours, behaviour{name, thing, driver, nth, new(atomic.Int64), made})
	}
	return behaviours
}

func main() {
	origin := upstream()
	things["body"] = func() {
		answer, err := (&http.Client{Transport: &http.Transport{}}).Get(origin)
		must(err)
		keep(answer)
	}
	behaviours := chosen(os.Args[2])
	has := func(driver string) bool {
		return slices.ContainsFunc(behaviours, func(one behaviour) bool { return one.driver == driver })
	}
	every := 20 * time.Millisecond
	if has("event") {
		every = 500 * time.Millisecond // a client that stays for one event is sent one
	}
	answer := 3 * time.Millisecond
	if has("early") || has("answered") {
		answer = 50 * time.Millisecond // clients are to leave before it, however busy the machine
	}
	act := func(now string) {
		for _, one := range behaviours {
			if one.driver == now && one.count.Add(1)%one.nth == 0 {
				things[one.thing]()
			}
		}
	}
	go func() {
		for range time.Tick(50 * time.Millisecond) {
			act("time")
		}
	}()
	events := func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() != nil { // a resource is exhausted
				http.Error(w, "exhausted", http.StatusServiceUnavailable)
			}
		}()
		act("connection")
		for _, one := range behaviours {
			benignBehaviour(one.name)
			if one.pattern == nil {
				continue
			}
			if one.pattern.serve != nil {
				one.pattern.serve(w, r)
				return
			}
			if one.pattern.opened != nil {
				if status := one.pattern.opened(); status != 200 {
					http.Error(w, http.StatusText(status), status)
					return
				}
			}
			if one.pattern.left != nil {
				defer one.pattern.left()
			}
		}
		time.Sleep(answer)
		if r.Context().Err() != nil {
			act("early")
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		act("answered")
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
	}
	routes := http.DefaultServeMux // where net/http/pprof registers itself
	if len(os.Args) > 3 && os.Args[3] == "no-pprof" {
		routes = http.NewServeMux()
	}
	routes.HandleFunc("/events", events)
	must(http.ListenAndServe("127.0.0.1:"+os.Args[1], routes))
}
