// Command apiproxy copies connections from the listener that it inherits as file descriptor 3 to the address in its
// argument. The listener belongs to the network namespace of the parent, the connections to that of this process.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "apiproxy:", err)
		os.Exit(1)
	}
}

func serve() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: apiproxy HOST:PORT, with a listening socket as file descriptor 3")
	}
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return fmt.Errorf("file descriptor 3: %w", err)
	}
	for {
		in, err := listener.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, "apiproxy: accept:", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		go join(in.(*net.TCPConn), os.Args[1])
	}
}

func join(in *net.TCPConn, address string) {
	defer in.Close()
	conn, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return
	}
	out := conn.(*net.TCPConn)
	defer out.Close()
	done := make(chan struct{}, 2)
	go transfer(out, in, done)
	go transfer(in, out, done)
	<-done
	<-done
}

func transfer(to, from *net.TCPConn, done chan<- struct{}) {
	if _, err := io.Copy(to, from); err != nil {
		// A broken side ends both; a clean end of one direction leaves the other open.
		to.Close()
		from.Close()
	}
	to.CloseWrite()
	done <- struct{}{}
}
