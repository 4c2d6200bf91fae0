// Go's net/http as a fetcher: 100 goroutines, kept-alive connections, nothing stored.
package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

type tally struct {
	next, failed, bytes int64
}

func fetch(client *http.Client, url string, t *tally) {
	response, err := client.Get(url)
	if err != nil {
		atomic.AddInt64(&t.failed, 1)
		return
	}
	n, err := io.Copy(io.Discard, response.Body)
	response.Body.Close()
	atomic.AddInt64(&t.bytes, n)
	if err != nil || response.StatusCode != http.StatusOK {
		atomic.AddInt64(&t.failed, 1)
	}
}

func main() {
	requests := flag.Int64("requests", 50000, "fetches in all")
	goroutines := flag.Int("goroutines", 100, "fetches at once")
	flag.Parse()
	urls := flag.Args()
	if len(urls) == 0 || *requests < 1 || *goroutines < 1 {
		flag.Usage()
		os.Exit(2)
	}

	// The default of 2 idle connections per host would measure connecting.
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: *goroutines}}
	var t tally
	var all sync.WaitGroup
	begun := time.Now()
	for i := 0; i < *goroutines; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for {
				i := atomic.AddInt64(&t.next, 1) - 1
				if i >= *requests {
					return
				}
				fetch(client, urls[i%int64(len(urls))], &t)
			}
		}()
	}
	all.Wait()
	fmt.Printf("{\"requests\":%d,\"failed\":%d,\"bytes\":%d,\"seconds\":%.6f}\n",
		*requests, t.failed, t.bytes, time.Since(begun).Seconds())
}
