// Greets whoever asks for /, and counts how often.
package main

import (
	"strconv"

	"agent/daee"
)

func init() { daee.Reactor(turn) }

// turn handles one event. An error is logged, and undoes what was done.
func turn(event *daee.Event) error {
	switch event.Kind {
	case "http":
		if event.Path != "/" {
			return daee.AnswerText(404, "text/plain", "there is only /\n")
		}
		return greet()
	case "timer": // with `schedule` in agent.yaml
		daee.Log("info", "on schedule")
	}
	return nil
}

// greet counts a visit in the state, where it outlives this module and this node.
func greet() error {
	kept, err := daee.Get("visits")
	count := 0
	if err == nil {
		count, err = strconv.Atoi(string(kept))
	}
	if err != nil && !daee.Is(err, daee.NotFound) {
		return err
	}
	visits := strconv.Itoa(count + 1)
	if err := daee.Set("visits", []byte(visits)); err != nil {
		return err
	}
	greeting := "hello from {{name}}, visit " + visits
	daee.Log("info", greeting)
	return daee.AnswerText(200, "text/plain", greeting+"\n")
}

// main is needed by the compiler, and not called.
func main() {}
