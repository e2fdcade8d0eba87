// Classify a picture: go run classify.go PICTURE [URL]
// If the server requires a key, set CATSDOGS_KEY.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	defaultURL = "http://127.0.0.1:8080/predictions/catsdogs"
	timeout    = 10 * time.Second
	tries      = 4
	maxWait    = 30 * time.Second
)

// Answer is what the server says of a picture.
type Answer struct {
	Label         string             `json:"label"`
	Probability   float64            `json:"probability"`
	Probabilities map[string]float64 `json:"probabilities"`
}

// Problem is an error of the server; Code is a stable name for programs.
type Problem struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

func (problem *Problem) Error() string { return problem.Code + ": " + problem.Detail }

// Classify returns the answer to a picture. Its error is a *Problem if the server refused.
func Classify(client *http.Client, url, key string, picture []byte) (*Answer, error) {
	for attempt := 1; ; attempt++ {
		request, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(picture))
		if err != nil {
			return nil, err
		}
		request.Header.Set("Content-Type", "application/octet-stream")
		if key != "" {
			request.Header.Set("Authorization", "Bearer "+key)
		}
		response, err := client.Do(request)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			return nil, err
		}
		if response.StatusCode == http.StatusOK {
			answer := new(Answer)
			if err := json.Unmarshal(body, answer); err != nil || answer.Label == "" {
				return nil, &Problem{"not_this_api", "not an answer of this API: is " + url + " right?"}
			}
			return answer, nil
		}
		mayRetry := response.StatusCode == http.StatusTooManyRequests || response.StatusCode == http.StatusServiceUnavailable
		if !mayRetry || attempt == tries {
			problem := &Problem{fmt.Sprintf("http_%d", response.StatusCode), http.StatusText(response.StatusCode)}
			if strings.HasPrefix(response.Header.Get("Content-Type"), "application/problem+json") {
				json.Unmarshal(body, problem) // what is not JSON leaves the status
			}
			return nil, problem
		}
		time.Sleep(wait(response.Header.Get("Retry-After")))
	}
}

// wait returns how long Retry-After asks to wait: it has seconds, or a date.
func wait(value string) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxWait)
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(time.Until(date), maxWait)
	}
	return time.Second
}

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: classify PICTURE [URL]")
		os.Exit(2)
	}
	url := defaultURL
	if len(os.Args) > 2 {
		url = os.Args[2]
	}
	picture, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatalln(err)
	}
	answer, err := Classify(&http.Client{Timeout: timeout}, url, os.Getenv("CATSDOGS_KEY"), picture)
	var problem *Problem
	if errors.As(err, &problem) {
		log.Fatalln(problem)
	} else if err != nil {
		log.Fatalln("no answer:", err)
	}
	fmt.Println(answer.Label, answer.Probability)
}
