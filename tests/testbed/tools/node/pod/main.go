// What the pods of a node do: nothing, in the sandbox of each pod, and small tasks in pods of tests.
//
// One static program, so that an image is one file.
package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const usage = `usage: pod pause
       pod serve <address>     answers every request with the name of the pod, and GET /file?<path> with the file
       pod get <url>           prints the answer; asks as the pod's service account where the URL is https
       pod resolve <name>      prints the addresses
       pod consume <url> <file>
                               asks each second with the token in the file, and prints what came of it and every new
                               token's fingerprint, each after the time in milliseconds
`

// Where kubelet puts what a pod needs to be its service account.
const account = "/var/run/secrets/kubernetes.io/serviceaccount/"

func main() {
	arguments := append(os.Args[1:], "", "")
	var err error
	switch arguments[0] {
	case "pause":
		pause()
	case "serve":
		go pause()
		err = http.ListenAndServe(arguments[1], http.HandlerFunc(answer))
	case "get":
		err = get(arguments[1])
	case "consume":
		go pause()
		consume(arguments[1], arguments[2])
	case "resolve":
		err = resolve(arguments[1])
	default:
		err = fmt.Errorf("%s", usage)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// The first process of a sandbox also inherits the orphans of the pod, and the kernel gives it no default for signals.
func pause() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			os.Exit(0)
		}
		for {
			if pid, _ := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 {
				break
			}
		}
	}
}

func answer(writer http.ResponseWriter, request *http.Request) {
	if request.URL.Path != "/file" {
		name, _ := os.Hostname()
		fmt.Fprintln(writer, name)
		return
	}
	content, err := os.ReadFile(request.URL.RawQuery)
	if err != nil {
		http.Error(writer, err.Error(), http.StatusNotFound)
		return
	}
	writer.Write(content)
}

func get(url string) error {
	// One connection for each request, so that a Service chooses anew.
	transport := &http.Transport{DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if strings.HasPrefix(url, "https:") {
		authority, err := os.ReadFile(account + "ca.crt")
		if err != nil {
			return err
		}
		token, err := os.ReadFile(account + "token")
		if err != nil {
			return err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(authority)
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
		request.Header.Set("Authorization", "Bearer "+string(token))
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(os.Stdout, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", response.Status)
	}
	return nil
}

func consume(url, file string) {
	looks := 0
	var last []byte
	for range time.Tick(100 * time.Millisecond) {
		token, err := os.ReadFile(file)
		if err != nil {
			say(err)
			continue
		}
		if !bytes.Equal(token, last) {
			digest := sha256.Sum256(token)
			say("token", hex.EncodeToString(digest[:16]))
			last = token
		}
		if looks++; looks%10 == 1 {
			say("call", status(url, string(token)))
		}
	}
}

func status(url, token string) string {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err.Error()
	}
	request.Header.Set("Authorization", "Bearer "+token)
	client := &http.Client{Timeout: 10 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return err.Error()
	}
	response.Body.Close()
	return strconv.Itoa(response.StatusCode)
}

func say(words ...any) {
	fmt.Println(append([]any{time.Now().UnixMilli()}, words...)...)
}

func resolve(name string) error {
	addresses, err := net.LookupHost(name)
	if err != nil {
		return err
	}
	fmt.Println(strings.Join(addresses, "\n"))
	return nil
}
