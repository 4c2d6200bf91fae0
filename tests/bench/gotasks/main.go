// Goroutines, measured as co.c measures our runtime: same names, same work, same units. On one
// processor, but for `thread`: a goroutine that owns a thread of the system.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
)

const (
	nYields  = 2000000
	nSpawns  = 200000
	nGather  = 10000
	nHops    = 1000000
	nTimers  = 500000
	nThreads = 10000
	nSleeps  = 300
	nParked  = 100000
)

func show(name string, begun time.Time, n int) {
	fmt.Printf("%s %.2f\n", name, float64(time.Since(begun).Nanoseconds())/float64(n))
}

func measureYield(name string, n int) {
	var all sync.WaitGroup
	each := nYields/n + 1
	all.Add(n)
	for i := 0; i < n; i++ {
		go func() {
			for i := 0; i < each; i++ {
				runtime.Gosched()
			}
			all.Done()
		}()
	}
	runtime.Gosched()
	begun := time.Now()
	all.Wait()
	show(name, begun, (each-1)*n)
}

func measureSpawn(name string) {
	begun := time.Now()
	for i := 0; i < nSpawns; i++ {
		ended := make(chan int, 1)
		go func() { ended <- 0 }()
		<-ended
	}
	show(name, begun, nSpawns)
}

func measureGather(name string) {
	var all sync.WaitGroup
	var begun time.Time
	for round := 0; round < 2; round++ { // the second time counts, as in co.c
		begun = time.Now()
		all.Add(nGather)
		for i := 0; i < nGather; i++ {
			go func() { all.Done() }()
		}
		all.Wait()
	}
	show(name, begun, nGather)
}

func measureHop(name string) {
	items := make(chan *int, 1)
	item := new(int)
	go func() {
		for i := 0; i < nHops; i++ {
			items <- item
		}
	}()
	begun := time.Now()
	for i := 0; i < nHops; i++ {
		<-items
	}
	show(name, begun, nHops)
}

func measureThread(name string) {
	calls, answers := make(chan func() int), make(chan int)
	before := runtime.GOMAXPROCS(runtime.NumCPU())
	go func() {
		runtime.LockOSThread()
		for call := range calls {
			answers <- call()
		}
	}()
	begun := time.Now()
	for i := 0; i < nThreads; i++ {
		calls <- func() int { return 0 }
		<-answers
	}
	show(name, begun, nThreads)
	close(calls)
	runtime.GOMAXPROCS(before)
}

func measureLate(name string) {
	begun := time.Now()
	for i := 0; i < nSleeps; i++ {
		time.Sleep(100 * time.Microsecond)
	}
	show(name, begun.Add(nSleeps*100*time.Microsecond), nSleeps)
}

// Somewhere in the second hour from now.
func far(i int) time.Duration {
	return time.Hour + time.Duration(i*2654435761%3600000)*time.Millisecond
}

func residentBytes() int {
	var size, resident int
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		panic(err)
	}
	fmt.Sscan(string(text), &size, &resident)
	return resident * os.Getpagesize()
}

func measureParked(name string) {
	var all sync.WaitGroup
	end := make(chan int)
	before, begun := residentBytes(), time.Now()
	all.Add(nParked)
	for i := 0; i < nParked; i++ {
		go func(i int) {
			wake := time.NewTimer(far(i))
			select {
			case <-wake.C:
			case <-end:
			}
			wake.Stop()
			all.Done()
		}(i)
	}
	runtime.Gosched()
	show("park", begun, nParked)
	fmt.Printf("%s %d\n", name, (residentBytes()-before)/nParked)
	begun = time.Now()
	for i := 0; i < nTimers; i++ {
		time.AfterFunc(far(i), func() {}).Stop()
	}
	show("timer", begun, nTimers)
	begun = time.Now()
	close(end)
	all.Wait()
	show("cancel", begun, nParked)
}

func main() {
	runtime.GOMAXPROCS(1)
	measures := []struct {
		name string
		run  func(name string)
	}{
		{"parked", measureParked},
		{"yield", func(name string) { measureYield(name, 2) }},
		{"yield-10k", func(name string) { measureYield(name, 10000) }},
		{"yield-100k", func(name string) { measureYield(name, 100000) }},
		{"spawn", measureSpawn},
		{"gather", measureGather},
		{"hop", measureHop},
		{"late", measureLate},
		{"thread", measureThread},
	}
	for _, m := range measures {
		for _, name := range os.Args[1:] {
			if name == m.name {
				m.run(name)
			}
		}
	}
}
