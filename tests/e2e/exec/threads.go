// SPDX-License-Identifier: Apache-2.0
// threads.go: bpf(2) from goroutines while the runtime interrupts them and collects garbage.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"unsafe"
)

func bpf(cmd uintptr, attr *[144]byte) (uintptr, syscall.Errno) {
	r, _, e := syscall.Syscall(321, cmd, uintptr(unsafe.Pointer(attr)), 144)
	return r, e
}
func main() {
	var a [144]byte
	p := (*[36]uint32)(unsafe.Pointer(&a))
	p[0], p[1], p[2], p[3] = 1, 4, 8, 1024
	m, e := bpf(0, &a)
	if e != 0 {
		fmt.Println("create", e)
		os.Exit(1)
	}
	var wg sync.WaitGroup
	for g := 0; g < 16; g++ {
		wg.Add(1)
		go func(g int) {
			defer wg.Done()
			for i := 0; i < 300; i++ {
				key := new(uint32)
				val := new(uint64)
				*key = uint32(g<<16 | i)
				var a [144]byte
				*(*uint32)(unsafe.Pointer(&a[0])) = uint32(m)
				*(*uintptr)(unsafe.Pointer(&a[8])) = uintptr(unsafe.Pointer(key))
				*(*uintptr)(unsafe.Pointer(&a[16])) = uintptr(unsafe.Pointer(val))
				a[24] = 1
				for _, c := range []uintptr{2, 3} {
					if c == 3 {
						a[16], a[17], a[18], a[19], a[20], a[21], a[24] = 0, 0, 0, 0, 0, 0, 0
						for j := 8 + 8; j < 32; j++ {
							a[j] = 0
						}
					}
					if _, e := bpf(c, &a); e != 0 {
						fmt.Println("cmd", c, e)
						os.Exit(1)
					}
				}
				runtime.KeepAlive(key)
				runtime.KeepAlive(val)
				if i%50 == 0 {
					runtime.GC()
				}
			}
		}(g)
	}
	wg.Wait()
	fmt.Println("ok")
}
