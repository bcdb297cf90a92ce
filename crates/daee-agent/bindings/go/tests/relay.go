// Does the calls that a request's body lists, by name or by function, and answers with what each gave.
package main

import (
	"encoding/binary"
	"errors"
	"strconv"

	"agent/daee"
)

func init() { daee.Reactor(turn) }

func main() {}

func turn(event *daee.Event) error {
	rest := event.Body
	part := func() []byte {
		end := 4 + binary.LittleEndian.Uint32(rest)
		found := rest[4:end]
		rest = rest[end:]
		return found
	}
	var out []byte
	number := func(value int32) { out = binary.LittleEndian.AppendUint32(out, uint32(value)) }
	give := func(code int32, head string, body []byte) {
		number(code)
		number(int32(len(head)))
		out = append(out, head...)
		number(int32(len(body)))
		out = append(out, body...)
	}
	for len(rest) > 0 {
		typed := rest[0] != 0
		rest = rest[1:]
		op, head, body := string(part()), string(part()), part()
		if !typed {
			give(daee.Call(op, head, body))
			continue
		}
		parsed, _ := daee.Parse(head)
		told, answer, err := byFunction(op, parsed, body)
		if refused, ok := err.(*daee.Refused); ok {
			told = nil
			if refused.Needs != "" {
				told = told.Text("needs", refused.Needs)
			}
			give(refused.Code, told.End(), nil)
			continue
		}
		if err != nil {
			return err
		}
		give(0, told.End(), answer)
	}
	daee.Answer(200, nil, out)
	return nil
}

func byFunction(op string, head daee.JSON, body []byte) (told daee.Head, answer []byte, err error) {
	text := func(name string) string {
		text, _ := head.Get(name).Text()
		return text
	}
	whole := func(name string, otherwise uint64) uint64 {
		if head.Get(name).Written == "" {
			return otherwise
		}
		return head.Get(name).Number()
	}
	flag := func(name string) func(bool, error) {
		return func(yes bool, refused error) {
			told, err = told.Raw(name, strconv.FormatBool(yes)), refused
		}
	}
	kind := func(isDirectory bool) string {
		if isDirectory {
			return "directory"
		}
		return "file"
	}
	stat := func(stat daee.FileStat, refused error) {
		told = told.Text("kind", kind(stat.IsDirectory)).Number("size", stat.Size).Number("modified_ns", stat.ModifiedNs)
		err = refused
	}
	list := func(name string, items []string) {
		json := "["
		for at, item := range items {
			if at > 0 {
				json += ","
			}
			json += item
		}
		told = told.Raw(name, json+"]")
	}
	var headers []daee.Header
	for _, pair := range head.Get("headers").Items {
		name, _ := pair.Items[0].Text()
		value, _ := pair.Items[1].Text()
		headers = append(headers, daee.Header{name, value})
	}
	key, name, path := text("key"), text("name"), text("path")
	switch op {
	case "log":
		level := text("level")
		if level == "" {
			level = "info"
		}
		daee.Log(level, text("text"))
	case "now":
		told = told.Number("ms", daee.Now())
	case "random":
		answer, err = daee.Random(head.Get("bytes").Number())
	case "event.next":
		_, err = daee.Next()
	case "event.answer":
		err = daee.Answer(whole("status", 200), headers, body)
	case "state.get":
		answer, err = daee.Get(key)
	case "state.set":
		err = daee.Set(key, body)
	case "state.delete":
		flag("existed")(daee.Delete(key))
	case "state.list":
		var keys, quoted []string
		keys, err = daee.List(text("prefix"), text("after"), whole("limit", 1000))
		for _, key := range keys {
			quoted = append(quoted, daee.Quote(key))
		}
		list("keys", quoted)
	case "state.cas":
		// The vectors' hash is that of "1".
		old := []byte("1")
		if text("expect") == "absent" {
			old = nil
		}
		flag("swapped")(daee.Swap(key, old, body))
	case "timer.set":
		if head.Get("at_ms").Written != "" {
			err = daee.TimerAt(name, head.Get("at_ms").Number())
		} else {
			err = daee.TimerAfter(name, head.Get("after_ms").Number())
		}
	case "timer.cancel":
		flag("existed")(daee.CancelTimer(name))
	case "http.fetch":
		request := daee.Request{
			Method: text("method"), URL: text("url"), Headers: headers, Body: body,
			TimeoutMs: head.Get("timeout_ms").Number(),
		}
		var fetched *daee.Fetched
		if fetched, err = daee.Fetch(request); err == nil {
			told, answer = told.Headers(fetched.Headers).Number("status", fetched.Status), fetched.Body
		}
	case "ipfs.read":
		answer, err = daee.ReadIPFS(text("cid"), whole("max_bytes", 1<<20))
	case "chain.publish":
		err = daee.Publish(text("topic"), body)
	case "file.read":
		answer, err = daee.ReadFile(path, head.Get("offset").Number(), whole("bytes", 4<<20))
	case "file.write":
		switch head.Get("offset").Written {
		case "":
			err = daee.WriteFile(path, body)
		case `"end"`:
			err = daee.AppendFile(path, body)
		default:
			err = daee.WriteFileAt(path, head.Get("offset").Number(), body)
		}
	case "file.truncate":
		err = daee.TruncateFile(path, head.Get("size").Number())
	case "file.stat":
		stat(daee.StatFile(path))
	case "file.create":
		stat(daee.CreateFile(path, head.Get("new").True()))
	case "file.mkdir":
		stat(daee.MakeDirectory(path))
	case "file.list":
		var entries []daee.Entry
		var items []string
		entries, err = daee.ListFiles(path, text("after"), whole("limit", 1000))
		for _, entry := range entries {
			items = append(items, daee.Head{}.Text("name", entry.Name).Text("kind", kind(entry.IsDirectory)).End())
		}
		list("entries", items)
	case "file.remove":
		err = daee.RemoveFile(path)
	case "file.rename":
		err = daee.RenameFile(path, text("to"))
	case "file.touch":
		if head.Get("modified_ns").Written == "" {
			err = daee.TouchFile(path)
		} else {
			err = daee.TouchFileAt(path, head.Get("modified_ns").Number())
		}
	default:
		err = errors.New("there is no function for " + op)
	}
	return told, answer, err
}
