// A Go service of event streams without pprof and with one behaviour, by its name. usage: service PORT BEHAVIOUR
package main

import (
	"fmt"
	"net/http"
	"os"
	"time"
)

var (
	kept    [][]byte
	garbage []byte
)

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
	switch behaviour {
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
