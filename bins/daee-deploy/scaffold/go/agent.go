// Greets whoever asks for /, and counts how often.
package main

import (
	"errors"
	"strconv"
)

// daeeTurn is called once for each event. 0 keeps what was done; anything else undoes it.
//
//go:wasmexport daee_turn
func daeeTurn() int32 {
	if err := turn(call("event.next", "{}", "").head); err != nil {
		log("error", err.Error())
		return 1
	}
	return 0
}

func turn(event string) error {
	switch field(event, "kind") {
	case "http":
		if field(event, "path") != "/" {
			return answer(404, "there is only /\n")
		}
		return greet()
	case "timer": // with `schedule` in agent.yaml
		log("info", "on schedule")
	}
	return nil
}

// greet counts a visit in the state, where it outlives this module and this node.
func greet() error {
	kept := call("state.get", `{"key":"visits"}`, "")
	if kept.code < 0 && kept.code != notFound {
		return errors.New(kept.head)
	}
	count := 1
	if kept.code >= 0 {
		before, err := strconv.Atoi(string(kept.body))
		if err != nil {
			return err
		}
		count = before + 1
	}
	visits := strconv.Itoa(count)
	if set := call("state.set", `{"key":"visits"}`, visits); set.code < 0 {
		return errors.New(set.head)
	}
	greeting := "hello from {{name}}, visit " + visits
	log("info", greeting)
	return answer(200, greeting+"\n")
}

func answer(status int, body string) error {
	head := `{"headers":[["content-type","text/plain"]],"status":` + strconv.Itoa(status) + `}`
	if sent := call("event.answer", head, body); sent.code < 0 {
		return errors.New(sent.head)
	}
	return nil
}

// main is needed by the compiler, and not called.
func main() {}
