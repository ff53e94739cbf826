// What a service does over time: late releases, sweeps, pools that follow bursts, state per tenant, caps, slow ticks. A
// name ends in its figures: release-10 (seconds), bursts-10-200 (files a burst, at most), capped-500.
package main

import (
	"math/rand"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Hooks of a pattern, each of which may be nil. opened: status of the response. left: the stream has ended. serve:
// instead of the ordinary stream.
type pattern struct {
	opened func() int
	left   func()
	serve  func(w http.ResponseWriter, r *http.Request)
}

const (
	burst     = 500 * time.Millisecond // without a request, after which the next one begins a burst
	published = 5200                   // bytes retained for each published event
	held      = 10000                  // bytes retained for each event of an open stream
)

func open() *os.File {
	file, err := os.Open("/proc/self/exe")
	must(err)
	return file
}

func release(seconds int) *pattern {
	return &pattern{left: func() {
		file := open()
		time.AfterFunc(time.Duration(seconds)*time.Second, func() { file.Close() })
	}}
}

// Without a timer: the next request closes what is old enough, as in many caches.
func expired(seconds int) *pattern {
	type entry struct {
		until time.Time
		file  *os.File
	}
	var guard sync.Mutex
	var waiting []entry
	return &pattern{
		opened: func() int {
			guard.Lock()
			defer guard.Unlock()
			for len(waiting) > 0 && !waiting[0].until.After(time.Now()) {
				waiting[0].file.Close()
				waiting = waiting[1:]
			}
			return http.StatusOK
		},
		left: func() {
			guard.Lock()
			defer guard.Unlock()
			waiting = append(waiting, entry{time.Now().Add(time.Duration(seconds) * time.Second), open()})
		},
	}
}

func sweep(seconds int) *pattern {
	var guard sync.Mutex
	var waiting []*os.File
	go func() {
		for range time.Tick(time.Duration(seconds) * time.Second) {
			guard.Lock()
			done := waiting
			waiting = nil
			guard.Unlock()
			for _, file := range done {
				file.Close()
			}
		}
	}()
	return &pattern{left: func() {
		guard.Lock()
		defer guard.Unlock()
		waiting = append(waiting, open())
	}}
}

func bursts(gain, most int) *pattern {
	var guard sync.Mutex
	var files []*os.File
	var last time.Time
	return &pattern{opened: func() int {
		guard.Lock()
		defer guard.Unlock()
		now := time.Now()
		if now.Sub(last) > burst {
			for i := 0; i < gain && len(files) < most; i++ {
				files = append(files, open())
			}
		}
		last = now
		return 200
	}}
}

func tenants(count int) *pattern {
	var guard sync.Mutex
	state := map[int]*os.File{}
	return &pattern{opened: func() int {
		guard.Lock()
		defer guard.Unlock()
		tenant := rand.Intn(count)
		if state[tenant] == nil {
			state[tenant] = open()
		}
		return 200
	}}
}

// publish retains five events a second, with clients or without.
func publish() *pattern {
	go func() {
		for range time.Tick(200 * time.Millisecond) {
			keep(append(make([]byte, 0, published), make([]byte, published)...))
		}
	}()
	return &pattern{}
}

func capped(most int, plain bool) *pattern {
	var guard sync.Mutex
	count := 0
	made := &pattern{opened: func() int {
		guard.Lock()
		defer guard.Unlock()
		if count >= most {
			return 500
		}
		count++
		keep(open())
		return 200
	}}
	if plain {
		opened := made.opened
		made.serve = func(w http.ResponseWriter, r *http.Request) {
			if status := opened(); status != 200 {
				http.Error(w, http.StatusText(status), status)
				return
			}
			w.Write([]byte("ok"))
		}
	}
	return made
}

// lent has a pool of so many files, of which each stream takes one after the head of its response, for good.
func lent(most int) *pattern {
	pool := make(chan struct{}, most)
	return &pattern{serve: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		select {
		case pool <- struct{}{}:
			keep(open())
		case <-r.Context().Done():
			return
		}
		for {
			w.Write([]byte("data: hello\n\n"))
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}}
}

// exhausted serves from a pool of so many workers; a stream retains its worker once its client has left.
func exhausted(workers int) *pattern {
	slots := make(chan struct{}, workers)
	return &pattern{serve: func(w http.ResponseWriter, r *http.Request) {
		slots <- struct{}{}
		w.Header().Set("Content-Type", "text/event-stream")
		w.Write([]byte("data: hello\n\n"))
		w.(http.Flusher).Flush()
		wait(make(chan struct{}))
	}}
}

// heldOpen retains 10 kB for each event until the stream ends.
func heldOpen() *pattern {
	return &pattern{serve: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		history := [][]byte{}
		for {
			one := make([]byte, held)
			for i := range one {
				one[i] = byte(i)
			}
			history = append(history, one)
			w.Write([]byte("data: hello\n\n"))
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				history = nil
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}}
}

// slowTick sends an event every so many seconds, and notices a departure only when a write fails.
func slowTick(seconds int) *pattern {
	return &pattern{serve: func(w http.ResponseWriter, r *http.Request) {
		connection, _, err := w.(http.Hijacker).Hijack()
		must(err)
		defer connection.Close()
		head := "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
		if _, err := connection.Write([]byte(head)); err != nil {
			return
		}
		for {
			if _, err := connection.Write([]byte("data: hello\n\n")); err != nil {
				return
			}
			time.Sleep(time.Duration(seconds) * time.Second)
		}
	}}
}

// failing answers every request with a status; leaking: and retains a file for each.
func failing(status int, leaking bool) *pattern {
	return &pattern{opened: func() int {
		if leaking {
			keep(open())
		}
		return status
	}}
}

// rateLimited answers every third request with 429.
func rateLimited() *pattern {
	var guard sync.Mutex
	count := 0
	return &pattern{opened: func() int {
		guard.Lock()
		defer guard.Unlock()
		count++
		if count%3 == 0 {
			return 429
		}
		return 200
	}}
}

// patternOf is nil for a name that is no pattern.
func patternOf(name string) *pattern {
	words := strings.Split(name, "-")
	figures := []int{}
	for len(words) > 1 {
		figure, err := strconv.Atoi(words[len(words)-1])
		if err != nil {
			break
		}
		figures = append([]int{figure}, figures...)
		words = words[:len(words)-1]
	}
	figure := func(index int) int {
		if index >= len(figures) {
			os.Stderr.WriteString(name + ": expected a figure at its end, as in release-10\n")
			os.Exit(2)
		}
		return figures[index]
	}
	switch strings.Join(words, "-") {
	case "release":
		return release(figure(0))
	case "expired":
		return expired(figure(0))
	case "sweep":
		return sweep(figure(0))
	case "bursts":
		return bursts(figure(0), figure(1))
	case "tenants":
		return tenants(figure(0))
	case "published":
		return publish()
	case "capped":
		return capped(figure(0), false)
	case "capped-requests":
		return capped(figure(0), true)
	case "lent":
		return lent(figure(0))
	case "exhausted":
		return exhausted(figure(0))
	case "held":
		return heldOpen()
	case "slow-tick":
		return slowTick(figure(0))
	case "unhealthy":
		return failing(503, true)
	case "unauthorized":
		return failing(401, true)
	case "refusing":
		return failing(503, false)
	case "rate-limited":
		return rateLimited()
	}
	return nil
}
