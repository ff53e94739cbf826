// A Go service of event streams without pprof and with one behaviour, by its name. usage: service PORT BEHAVIOUR
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	kept     [][]byte
	garbage  []byte
	served   atomic.Int64
	spooling atomic.Int64
	spools   sync.Map
	idle     pool
)

// A pool of connections to an upstream, which closes those that nobody used for 26 s.
type pool struct {
	sync.Mutex
	free []lease
}

type lease struct {
	net.Conn
	since time.Time
}

func (p *pool) get(address string) (net.Conn, error) {
	p.Lock()
	defer p.Unlock()
	if last := len(p.free) - 1; last >= 0 {
		one := p.free[last].Conn
		p.free = p.free[:last]
		return one, nil
	}
	return net.Dial("unix", address)
}

func (p *pool) put(one net.Conn) {
	p.Lock()
	defer p.Unlock()
	p.free = append(p.free, lease{one, time.Now()})
}

func (p *pool) closeIdle() {
	for now := range time.Tick(2 * time.Second) {
		p.Lock()
		var used []lease
		for _, one := range p.free {
			if now.Sub(one.since) > 26*time.Second {
				one.Close()
			} else {
				used = append(used, one)
			}
		}
		p.free = used
		p.Unlock()
	}
}

// upstream answers each byte with the same byte; it is in this process, so both ends count.
func upstream(address string) error {
	listener, err := net.Listen("unix", address)
	if err != nil {
		return err
	}
	go func() {
		for {
			one, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer one.Close()
				buffer := make([]byte, 1)
				for {
					if _, err := one.Read(buffer); err != nil {
						return
					}
					if _, err := one.Write(buffer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return nil
}

func grow(each int, keep bool) {
	for range time.Tick(50 * time.Millisecond) {
		block := make([]byte, each/20)
		for index := range block {
			block[index] = byte(index)
		}
		if keep {
			kept = append(kept, block)
		} else {
			garbage = block
		}
	}
}

func main() {
	behaviour := os.Args[2]
	address := "@unseen-upstream-" + os.Args[1]
	switch behaviour {
	case "upstreams-26":
		if err := upstream(address); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go idle.closeIdle()
	case "spool-640":
		limit := syscall.Rlimit{Cur: 640, Max: 640}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "time":
		go grow(350_000, true)
	case "garbage":
		kept = append(kept, make([]byte, 20_000_000))
		for index := range kept[0] {
			kept[0][index] = byte(index)
		}
		go grow(1_000_000, false)
	}
	http.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		count := served.Add(1)
		if behaviour == "spool-640" {
			if spooling.Add(1) > 640-128 { // the others are for connections, else nobody could be refused
				spooling.Add(-1)
				http.Error(w, "no spool file", http.StatusServiceUnavailable)
				return
			}
			file, err := os.Open("/dev/zero")
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			spools.Store(count, file)
		}
		if behaviour == "upstreams-26" {
			one, err := idle.get(address)
			if err != nil {
				http.Error(w, "no upstream", http.StatusBadGateway)
				return
			}
			defer idle.put(one)
			ask := []byte{1}
			one.Write(ask)
			one.Read(ask)
		}
		if behaviour == "expiring-53" {
			if file, err := os.Open("/dev/zero"); err == nil {
				defer func() { time.AfterFunc(53*time.Second, func() { file.Close() }) }()
			}
			if count%6 == 0 {
				if file, err := os.Open("/dev/full"); err == nil {
					spools.Store(count, file)
				}
			}
		}
		w.Header().Set("Content-Type", "text/event-stream")
		flusher := w.(http.Flusher)
		if behaviour == "goroutine" {
			never := make(chan []byte)
			go func() { buffer := make([]byte, 4096); buffer[0] = 1; never <- buffer }() // nobody receives
		}
		if behaviour == "late-45" {
			file, err := os.Open("/dev/null")
			if err == nil {
				defer func() { time.AfterFunc(45*time.Second, func() { file.Close() }) }()
			}
		}
		for number := 0; ; number++ {
			fmt.Fprintf(w, "id: %d\ndata: tick\n\n", number)
			flusher.Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	if err := http.ListenAndServe("127.0.0.1:"+os.Args[1], nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
