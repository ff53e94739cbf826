// A Go service of event streams without pprof and with one behaviour, by its name. usage: service PORT BEHAVIOUR
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html/template"
	"math/rand/v2"
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
	open     atomic.Int64
	spools   sync.Map
	idle     pool
	hubs     = hubTable{conns: map[int64]net.Conn{}, users: map[int64]int{}}
	keeping  sync.Mutex
	buffers  = sync.Pool{New: func() any { return new(bytes.Buffer) }}
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

// One connection to the upstream for each topic, shared by its clients and closed with the last of them. Clients of a new
// topic that arrive at once connect several times, and the last connection takes the place of the others.
type hubTable struct {
	sync.Mutex
	conns map[int64]net.Conn
	users map[int64]int
}

func (h *hubTable) join(topic int64, address string) error {
	h.Lock()
	h.users[topic]++
	_, known := h.conns[topic]
	h.Unlock()
	if known {
		return nil
	}
	conn, err := net.Dial("unix", address)
	if err != nil {
		return err
	}
	go func() {
		buffer := make([]byte, 1)
		for {
			if _, err := conn.Read(buffer); err != nil {
				return
			}
		}
	}()
	time.Sleep(2 * time.Millisecond) // the upstream's greeting
	h.Lock()
	h.conns[topic] = conn
	h.Unlock()
	return nil
}

func (h *hubTable) leave(topic int64) {
	h.Lock()
	defer h.Unlock()
	if h.users[topic]--; h.users[topic] > 0 {
		return
	}
	delete(h.users, topic)
	if conn, known := h.conns[topic]; known {
		conn.Close()
		delete(h.conns, topic)
	}
}

// publish queues 130 kB a second for one client, without a limit, until the handler returns.
func publish(ctx context.Context, w http.ResponseWriter) {
	var lock sync.Mutex
	var queue [][]byte
	arrived := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		ticks := time.NewTicker(50 * time.Millisecond)
		defer ticks.Stop()
		for number := 0; ; number++ {
			event := append([]byte("data: "), bytes.Repeat([]byte{byte('a' + number%26)}, 6492)...)
			lock.Lock()
			queue = append(queue, append(event, '\n', '\n'))
			lock.Unlock()
			select {
			case arrived <- struct{}{}:
			default:
			}
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-arrived:
		}
		for {
			lock.Lock()
			if len(queue) == 0 {
				lock.Unlock()
				break
			}
			event := queue[0]
			queue = queue[1:]
			lock.Unlock()
			if _, err := w.Write(event); err != nil {
				return
			}
			w.(http.Flusher).Flush()
		}
	}
}

// fetch asks the upstream. The handler takes the answer from the channel, unless its client has gone: then the goroutine
// waits for ever, with its connection.
func fetch(address string) chan byte {
	answers := make(chan byte)
	go func() {
		conn, err := net.Dial("unix", address)
		if err != nil {
			answers <- 0
			return
		}
		defer conn.Close()
		buffer := []byte{7}
		conn.Write(buffer)
		time.Sleep(60 * time.Millisecond) // the upstream's work
		conn.Read(buffer)
		answers <- buffer[0]
	}()
	return answers
}

var page = template.Must(template.New("page").Parse(
	`<table>{{range .}}<tr class="{{.Class}}"><td>{{.Name}}</td><td>{{.Price}}</td></tr>{{end}}</table>`))

type item struct {
	Class, Name string
	Price       float64
	Tags        []string
}

// render makes an event of a page, in a buffer that a later event uses again, and of its rows as JSON.
func render(number int) string {
	rows := make([]item, 20+rand.IntN(100))
	for index := range rows {
		name := fmt.Sprintf("row %d <of> %d", index, number)
		rows[index] = item{"even", name, rand.Float64() * 900, []string{name, "a & b"}}
	}
	buffer := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(buffer)
	buffer.Reset()
	if err := page.Execute(buffer, rows); err != nil {
		return "none"
	}
	text, err := json.Marshal(rows)
	var again []map[string]any
	if err != nil || json.Unmarshal(text, &again) != nil {
		return "none"
	}
	return buffer.String() + string(text[:len(text)/2])
}

// linger keeps what a client missed, for 15 to 55 s after it left.
func linger(count int64) {
	missed := make([]byte, 9000)
	for index := range missed {
		missed[index] = byte(count) + byte(index)
	}
	time.Sleep(15*time.Second + rand.N(40*time.Second))
	keeping.Lock()
	garbage = missed[:1]
	keeping.Unlock()
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
	case "twins", "answers":
		if err := upstream(address); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
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
		if behaviour == "answers" {
			select {
			case <-fetch(address):
			case <-r.Context().Done():
				return
			}
		}
		if behaviour == "overflow-33" {
			defer open.Add(-1)
			if open.Add(1) > 33 { // the regular files are all in use
				if file, err := os.Open("/dev/zero"); err == nil {
					spools.Store(count, file)
				}
			}
		}
		if behaviour == "twins" {
			if err := hubs.join(count/8, address); err != nil {
				http.Error(w, "no upstream", http.StatusBadGateway)
				return
			}
			defer hubs.leave(count / 8)
		}
		if behaviour == "linger-55" {
			defer func() { go linger(count) }()
		}
		if behaviour == "bytes-6400" {
			record := make([]byte, 6400)
			for index := range record {
				record[index] = byte(count) + byte(index)
			}
			keeping.Lock()
			kept = append(kept, record)
			keeping.Unlock()
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
		if behaviour == "outgoing-130" {
			publish(r.Context(), w)
			return
		}
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
			data := "tick"
			if behaviour == "pooled-pages" {
				data = render(number)
			}
			fmt.Fprintf(w, "id: %d\ndata: %s\n\n", number, data)
			flusher.Flush()
			var expired <-chan time.Time
			if behaviour == "after-10m" { // a new timer for each event: before Go 1.23 it stayed until it fired
				expired = time.After(10 * time.Minute)
			}
			select {
			case <-r.Context().Done():
				return
			case <-expired:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	server := http.Server{Addr: "127.0.0.1:" + os.Args[1]}
	if behaviour == "outgoing-130" { // else the kernel holds the first 4 MB
		server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
			conn.(*net.TCPConn).SetWriteBuffer(16_384)
			return ctx
		}
	}
	if err := server.ListenAndServe(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
