// Calls an API once a second, with the token of a mounted Secret.
package main

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

var (
	url       = cmp.Or(os.Getenv("API_URL"), "https://api.idissuer.pl/v2/reports")
	tokenFile = cmp.Or(os.Getenv("TOKEN_FILE"), "/run/idissuer/token")
	client    = &http.Client{Timeout: 10 * time.Second}
)

// send makes one request, with the token that is in the file now.
func send() (*http.Response, error) {
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	return client.Do(request)
}

// get, after a 401, reads the file again and repeats the request once: the token may be replaced meanwhile.
func get() (*http.Response, error) {
	response, err := send()
	if err == nil && response.StatusCode == http.StatusUnauthorized {
		response.Body.Close()
		return send()
	}
	return response, err
}

func main() {
	for ; ; time.Sleep(time.Second) {
		response, err := get()
		if err != nil {
			fmt.Fprintln(os.Stderr, "failed:", err)
			continue
		}
		response.Body.Close()
		fmt.Println(response.StatusCode)
	}
}
