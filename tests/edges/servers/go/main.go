// A small SSE server on net/http with pprof. /clean gives everything back; /goroutine keeps one goroutine,
// /slice one slice of 200 bytes per connection. Prints its port.
package main

import (
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof"
	"sync"
)

var (
	lock sync.Mutex
	kept [][]byte
)

func forgotten(never chan struct{}) {
	<-never // planted goroutine
}

func keep() {
	lock.Lock()
	defer lock.Unlock()
	kept = append(kept, make([]byte, 200)) // planted slice
}

func stream(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/goroutine":
		go forgotten(make(chan struct{}))
	case "/slice":
		keep()
	}
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, "data: hello\n\n")
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

func main() {
	for _, path := range []string{"/clean", "/goroutine", "/slice"} {
		http.HandleFunc(path, stream)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	panic(http.Serve(listener, nil))
}
