// An SSE service on net/http with pprof: main PORT LEAK keeps one thing for each stream.
package main

import (
	"fmt"
	"net/http"
	_ "net/http/pprof"
	"os"
	"sync"
)

type Hub struct {
	lock    sync.Mutex
	events  map[int][]byte
	waiting sync.WaitGroup
}

func (h *Hub) heartbeat(done chan struct{}) {
	<-done // planted goroutine
}

func (h *Hub) Goroutine() { go h.heartbeat(make(chan struct{})) }

func (h *Hub) Event() {
	h.lock.Lock()
	defer h.lock.Unlock()
	h.events[len(h.events)] = make([]byte, 3000) // planted event
}

func main() {
	hub := &Hub{events: map[int][]byte{}}
	leaks := map[string]func(){"goroutine": hub.Goroutine, "event": hub.Event}
	http.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		leaks[os.Args[2]]()
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: hello\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	panic(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
