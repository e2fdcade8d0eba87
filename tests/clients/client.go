// Asks a server by HTTP/2 with one picture in four bad, until standard input ends or COUNT requests are done.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	url := os.Args[1]
	good, err := os.ReadFile(os.Args[2])
	if err != nil {
		panic(err)
	}
	count, _ := strconv.Atoi(os.Args[3])
	threads, _ := strconv.Atoi(os.Args[4])
	protocols := new(http.Protocols)
	transport := &http.Transport{Protocols: protocols, Proxy: nil}
	if strings.HasPrefix(url, "https:") {
		protocols.SetHTTP2(true)
		authority, err := os.ReadFile(os.Args[5])
		if err != nil {
			panic(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(authority)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	} else {
		protocols.SetUnencryptedHTTP2(true)
	}
	client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	var next, right, lost atomic.Int64
	var ended atomic.Bool
	if count == 0 {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			ended.Store(true)
		}()
	}
	var group sync.WaitGroup
	for range threads {
		group.Add(1)
		go func() {
			defer group.Done()
			for {
				number := next.Add(1) - 1
				if (count > 0 && number >= int64(count)) || (count == 0 && ended.Load()) {
					return
				}
				body, wanted := good, 200
				if number%4 == 3 {
					body, wanted = []byte("no picture"), 415
				}
				response, err := client.Post(url, "application/octet-stream", bytes.NewReader(body))
				if err == nil {
					_, err = io.Copy(io.Discard, response.Body)
					response.Body.Close()
					if err == nil && (response.StatusCode != wanted || response.ProtoMajor != 2) {
						err = fmt.Errorf("status %d by %s", response.StatusCode, response.Proto)
					}
				}
				if err != nil {
					lost.Add(1)
					fmt.Fprintln(os.Stderr, err)
				} else {
					right.Add(1)
				}
			}
		}()
	}
	group.Wait()
	fmt.Printf("{\"right\":%d,\"lost\":%d}\n", right.Load(), lost.Load())
}
