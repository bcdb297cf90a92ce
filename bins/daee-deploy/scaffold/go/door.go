package main

import (
	"encoding/binary"
	"strconv"
	"strings"
	"unsafe"
)

// The way to the node: two imports, frames, and the JSON in them. It does without encoding/json and fmt, which are
// larger than an agent.

//go:wasmimport daee call
func importCall(op unsafe.Pointer, opLen uint32, in unsafe.Pointer, inLen uint32) int32

//go:wasmimport daee read
func importRead(out unsafe.Pointer, room uint32) int32

// notFound is the code of what is not there.
const notFound = -5

// reply is what an operation gave. With a negative code it was refused, and the head says why.
type reply struct {
	code int32
	head string
	body []byte
}

// call does an operation. A frame is a 32-bit little-endian length of the head, the head, and the body.
func call(op, head, body string) reply {
	frame := binary.LittleEndian.AppendUint32(nil, uint32(len(head)))
	frame = append(append(frame, head...), body...)
	code := importCall(unsafe.Pointer(unsafe.StringData(op)), uint32(len(op)),
		unsafe.Pointer(unsafe.SliceData(frame)), uint32(len(frame)))
	// A refusal does not say how long its reason is; a read of nothing does.
	size := code
	if code < 0 {
		size = importRead(nil, 0)
	}
	if size < 4 {
		return reply{code, "{}", nil}
	}
	answer := make([]byte, size)
	importRead(unsafe.Pointer(unsafe.SliceData(answer)), uint32(size))
	end := 4 + binary.LittleEndian.Uint32(answer)
	return reply{code, string(answer[4:end]), answer[end:]}
}

// quote writes text as JSON does.
func quote(text string) string {
	out := []byte{'"'}
	for _, c := range []byte(text) {
		switch {
		case c < 0x20:
			out = append(out, '\\', 'u', '0', '0', '0'+c>>4, "0123456789abcdef"[c&15])
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		default:
			out = append(out, c)
		}
	}
	return string(append(out, '"'))
}

// field is the text of a name in a head, or empty. A node writes heads without spaces.
func field(head, name string) string {
	for at, depth := 0, 0; at < len(head); at++ {
		switch head[at] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			// Of escapes a node writes those that Go has as well.
			quoted, _ := strconv.QuotedPrefix(head[at:])
			rest := head[at+len(quoted):]
			if depth == 1 && quoted == `"`+name+`"` && strings.HasPrefix(rest, `:"`) {
				quoted, _ = strconv.QuotedPrefix(rest[1:])
				text, _ := strconv.Unquote(quoted)
				return text
			}
			at += max(len(quoted), 1) - 1
		}
	}
	return ""
}

// log writes a line of the agent's log.
func log(level, text string) {
	call("log", `{"level":`+quote(level)+`,"text":`+quote(text)+`}`, "")
}
