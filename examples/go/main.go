// Quotes, on net/http. With LEAKY=1 the goroutine that makes them is not told that its client has left: it waits for
// ever to hand over the next one. The pprof pages let the harness count goroutines.
package main

import (
	"fmt"
	"net/http"
	_ "net/http/pprof"
	"os"
	"time"
)

var leaky = os.Getenv("LEAKY") == "1"

func quotes(done <-chan struct{}) <-chan float64 {
	out := make(chan float64)
	go func() {
		defer close(out)
		for price := 100.0; ; price++ {
			if leaky {
				out <- price
				continue
			}
			select {
			case out <- price:
			case <-done:
				return
			}
		}
	}()
	return out
}

func events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	prices := quotes(r.Context().Done())
	for price := range prices {
		fmt.Fprintf(w, "data: %.2f\n\n", price)
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func main() {
	http.HandleFunc("/events", events)
	if err := http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
