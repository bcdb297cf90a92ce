// Package daee is the guest's side of the door in Go: two imports, frames, JSON, and a function for each operation.
//
// It does without encoding/json, crypto and fmt, which are larger than an agent.
package daee

import (
	"encoding/binary"
	"math/bits"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

//go:wasmimport daee call
func importCall(op unsafe.Pointer, opLen uint32, in unsafe.Pointer, inLen uint32) int32

//go:wasmimport daee read
func importRead(out unsafe.Pointer, room uint32) int32

// Codes of refusals.
const (
	Denied    = -1
	Unknown   = -2
	Malformed = -3
	Limit     = -4
	NotFound  = -5
	Outside   = -6
	NotNow    = -7
	Conflict  = -8
)

// Refused is why an operation was not done.
type Refused struct {
	Op   string
	Code int32
	// Message is for people.
	Message string
	// Needs is the line of the manifest that would permit it, if one would.
	Needs string
}

func (refused *Refused) Error() string {
	return refused.Op + ": " + refused.Message
}

// Is says whether an error is a refusal with this code.
func Is(err error, code int32) bool {
	refused, ok := err.(*Refused)
	return ok && refused.Code == code
}

// Call does an operation by its name: for those that this package has no function for. With a negative code it was
// refused, and the head says why. A frame is a 32-bit little-endian length of the head, the head, and the body.
func Call(op, head string, body []byte) (code int32, answer string, answerBody []byte) {
	frame := binary.LittleEndian.AppendUint32(nil, uint32(len(head)))
	frame = append(append(frame, head...), body...)
	code = importCall(unsafe.Pointer(unsafe.StringData(op)), uint32(len(op)),
		unsafe.Pointer(unsafe.SliceData(frame)), uint32(len(frame)))
	// A refusal does not say how long its reason is; a read of nothing does.
	size := code
	if code < 0 {
		size = importRead(nil, 0)
	}
	if size < 4 {
		return code, "{}", nil
	}
	read := make([]byte, size)
	importRead(unsafe.Pointer(unsafe.SliceData(read)), uint32(size))
	end := 4 + binary.LittleEndian.Uint32(read)
	return code, string(read[4:end]), read[end:]
}

// do is Call with what was refused as an error.
func do(op string, head Head, body []byte) (JSON, []byte, error) {
	code, text, answer := Call(op, head.End(), body)
	parsed, _ := Parse(text)
	if code < 0 {
		needs, _ := parsed.Get("needs").Text()
		message, _ := parsed.Get("message").Text()
		return parsed, nil, &Refused{op, code, message, needs}
	}
	return parsed, answer, nil
}

// Header is a name and a value.
type Header [2]string

// Log writes a line of the agent's log. One that is over the turn's limit is lost, and the log says so.
func Log(level, text string) {
	do("log", Head{}.Text("level", level).Text("text", text), nil)
}

// Now is milliseconds since 1970: the event's, and what was waited for since.
func Now() uint64 {
	answer, _, _ := do("now", nil, nil)
	return answer.Get("ms").Number()
}

// Random gives at most 4096 random bytes.
func Random(count uint64) ([]byte, error) {
	_, body, err := do("random", Head{}.Number("bytes", count), nil)
	return body, err
}

// Event is what woke the agent. Kind says which of the fields it has.
type Event struct {
	Kind string
	Turn uint64
	// Ms is when it happened, in milliseconds since 1970.
	Ms uint64
	// Method, Path and Query are those of "http", whose headers Header finds.
	Method, Path, Query string
	Headers             []Header
	// From is who sent a "message".
	From string
	// Name is that of a "timer".
	Name string
	// BlockHash is that of a "tick".
	BlockHash string
	// DeadlineMs is when the cell goes after a "stop".
	DeadlineMs uint64
	// FromVersion is what was before it was "upgraded".
	FromVersion string
	Body        []byte
}

// Header is the first of this name in lower case, or empty.
func (event *Event) Header(name string) string { return header(event.Headers, name) }

// Next takes the next event. In a resident this ends the turn before and waits.
func Next() (*Event, error) {
	head, body, err := do("event.next", nil, nil)
	if err != nil {
		return nil, err
	}
	text := func(name string) string {
		text, _ := head.Get(name).Text()
		return text
	}
	return &Event{
		Kind: text("kind"), Turn: head.Get("turn").Number(), Ms: head.Get("ms").Number(),
		Method: text("method"), Path: text("path"), Query: text("query"), Headers: head.Get("headers").headers(),
		From: text("from"), Name: text("name"), BlockHash: text("block_hash"),
		DeadlineMs: head.Get("deadline_ms").Number(), FromVersion: text("from_version"), Body: body,
	}, nil
}

// Answer answers this turn's event. There is one answer to each.
func Answer(status uint64, headers []Header, body []byte) error {
	_, _, err := do("event.answer", Head{}.Headers(headers).Number("status", status), body)
	return err
}

// AnswerText answers with text of this type, as in "text/plain".
func AnswerText(status uint64, kind, text string) error {
	return Answer(status, []Header{{"content-type", kind}}, []byte(text))
}

// Get gives the value of a key, which is refused with NotFound if there is none.
func Get(key string) ([]byte, error) {
	_, body, err := do("state.get", Head{}.Text("key", key), nil)
	return body, err
}

// Set sets a key.
func Set(key string, value []byte) error {
	_, _, err := do("state.set", Head{}.Text("key", key), value)
	return err
}

// Delete deletes a key, and says whether it was there.
func Delete(key string) (bool, error) {
	answer, _, err := do("state.delete", Head{}.Text("key", key), nil)
	return answer.Get("existed").True(), err
}

// List gives keys that begin with prefix, in order, behind after if that is not empty; at most limit, which is at
// most 1000.
func List(prefix, after string, limit uint64) ([]string, error) {
	head := Head{}.Text("prefix", prefix).Number("limit", limit)
	if after != "" {
		head = head.Text("after", after)
	}
	answer, _, err := do("state.list", head, nil)
	var keys []string
	for _, item := range answer.Get("keys").Items {
		key, _ := item.Text()
		keys = append(keys, key)
	}
	return keys, err
}

// Swap sets a key if its value is still old, or, if that is nil, if there is no such key. It says whether it did.
func Swap(key string, old, value []byte) (bool, error) {
	expect := `"absent"`
	if old != nil {
		expect = `{"sha256":"` + SHA256(old) + `"}`
	}
	answer, _, err := do("state.cas", Head{}.Text("key", key).Raw("expect", expect), value)
	return answer.Get("swapped").True(), err
}

// ReadFile gives at most so many bytes of a file from offset on; at most 4 MiB at once.
func ReadFile(path string, offset, bytes uint64) ([]byte, error) {
	_, body, err := do("file.read", at(path).Number("offset", offset).Number("bytes", bytes), nil)
	return body, err
}

// WriteFile writes a whole file; one that is not there is made, in a folder that is.
func WriteFile(path string, content []byte) error {
	_, _, err := do("file.write", at(path), content)
	return err
}

// WriteFileAt writes over what is in a file from offset on. Between its end and there it gets zeros.
func WriteFileAt(path string, offset uint64, content []byte) error {
	_, _, err := do("file.write", at(path).Number("offset", offset), content)
	return err
}

// AppendFile writes behind the end of a file, which is made if it is not there.
func AppendFile(path string, content []byte) error {
	_, _, err := do("file.write", at(path).Text("offset", "end"), content)
	return err
}

// TruncateFile cuts a file to this size, or fills it up with zeros.
func TruncateFile(path string, size uint64) error {
	_, _, err := do("file.truncate", at(path).Number("size", size), nil)
	return err
}

// FileStat is what is known of a file or a folder.
type FileStat struct {
	IsDirectory bool
	Size        uint64
	// ModifiedNs is when it was last written, in nanoseconds since 1970.
	ModifiedNs uint64
}

func statOf(op string, head Head) (FileStat, error) {
	answer, _, err := do(op, head, nil)
	return FileStat{isDirectory(answer), answer.Get("size").Number(), answer.Get("modified_ns").Number()}, err
}

func isDirectory(json JSON) bool {
	kind, _ := json.Get("kind").Text()
	return kind == "directory"
}

// StatFile says what is known of a file or a folder.
func StatFile(path string) (FileStat, error) { return statOf("file.stat", at(path)) }

// CreateFile makes an empty file. One that is there is left alone, or refused if it must be new.
func CreateFile(path string, isNew bool) (FileStat, error) {
	return statOf("file.create", at(path).Raw("new", strconv.FormatBool(isNew)))
}

// MakeDirectory makes a folder, in one that is there.
func MakeDirectory(path string) (FileStat, error) { return statOf("file.mkdir", at(path)) }

// Entry is a name in a folder.
type Entry struct {
	Name        string
	IsDirectory bool
}

// ListFiles gives what is in a folder, in order, behind the name after if that is not empty; at most limit, which is at
// most 1000.
func ListFiles(path, after string, limit uint64) ([]Entry, error) {
	head := at(path).Number("limit", limit)
	if after != "" {
		head = head.Text("after", after)
	}
	answer, _, err := do("file.list", head, nil)
	var entries []Entry
	for _, item := range answer.Get("entries").Items {
		name, _ := item.Get("name").Text()
		entries = append(entries, Entry{name, isDirectory(item)})
	}
	return entries, err
}

// RemoveFile removes a file or an empty folder.
func RemoveFile(path string) error {
	_, _, err := do("file.remove", at(path), nil)
	return err
}

// RenameFile moves a file or a folder. It takes the place of a file, or of an empty folder.
func RenameFile(path, to string) error {
	_, _, err := do("file.rename", at(path).Text("to", to), nil)
	return err
}

// TouchFile sets when it was last written to now.
func TouchFile(path string) error {
	_, _, err := do("file.touch", at(path), nil)
	return err
}

// TouchFileAt sets when it was last written, in nanoseconds since 1970.
func TouchFileAt(path string, modifiedNs uint64) error {
	_, _, err := do("file.touch", at(path).Number("modified_ns", modifiedNs), nil)
	return err
}

func at(path string) Head { return Head{}.Text("path", path) }

// TimerAt sets an event of kind "timer" with this name to a time in milliseconds since 1970. One of the same name is
// set anew.
func TimerAt(name string, ms uint64) error {
	_, _, err := do("timer.set", Head{}.Text("name", name).Number("at_ms", ms), nil)
	return err
}

// TimerAfter is TimerAt so many milliseconds from now.
func TimerAfter(name string, ms uint64) error {
	_, _, err := do("timer.set", Head{}.Text("name", name).Number("after_ms", ms), nil)
	return err
}

// CancelTimer says whether it was set.
func CancelTimer(name string) (bool, error) {
	answer, _, err := do("timer.cancel", Head{}.Text("name", name), nil)
	return answer.Get("existed").True(), err
}

// Request is what to fetch. What is empty is left out.
type Request struct {
	Method, URL string
	Headers     []Header
	Body        []byte
	TimeoutMs   uint64
}

// Fetched is what came back.
type Fetched struct {
	Status  uint64
	Headers []Header
	Body    []byte
}

// Header is the first of this name in lower case, or empty.
func (fetched *Fetched) Header(name string) string { return header(fetched.Headers, name) }

// Fetch fetches. Whatever status comes back is an answer; an error says that none came.
func Fetch(request Request) (*Fetched, error) {
	head := Head{}.Text("url", request.URL).Headers(request.Headers)
	if request.Method != "" {
		head = head.Text("method", request.Method)
	}
	if request.TimeoutMs != 0 {
		head = head.Number("timeout_ms", request.TimeoutMs)
	}
	answer, body, err := do("http.fetch", head, request.Body)
	if err != nil {
		return nil, err
	}
	return &Fetched{answer.Get("status").Number(), answer.Get("headers").headers(), body}, nil
}

// ReadIPFS gives content that the node has verified against its CID; more than bytesMax of it is refused.
func ReadIPFS(cid string, bytesMax uint64) ([]byte, error) {
	_, body, err := do("ipfs.read", Head{}.Text("cid", cid).Number("max_bytes", bytesMax), nil)
	return body, err
}

// Publish publishes a value under a topic in the outbox contract, once the turn is kept.
func Publish(topic string, data []byte) error {
	_, _, err := do("chain.publish", Head{}.Text("topic", topic), data)
	return err
}

var turn func(*Event) error

// Reactor makes a module built with -buildmode=c-shared an agent: call it in an init function. An error undoes the
// turn and is logged.
func Reactor(of func(*Event) error) { turn = of }

// Resident makes a program an agent, with `run: resident` in its manifest: it gives each event to this function for as
// long as the cell lives. Call it in main. An error undoes the turn and ends the program; the next event starts it
// afresh.
func Resident(of func(*Event) error) {
	turn = of
	for daeeTurn() == 0 {
	}
	syscall.Exit(1)
}

//go:wasmexport daee_turn
func daeeTurn() int32 {
	event, err := Next()
	if err == nil {
		err = turn(event)
	}
	if err != nil {
		Log("error", err.Error())
		return 1
	}
	return 0
}

// Head is an operation's input, field by field.
type Head []byte

// Raw adds a field as JSON.
func (head Head) Raw(name, json string) Head {
	separator := ","
	if len(head) == 0 {
		separator = "{"
	}
	return append(head, separator+Quote(name)+":"+json...)
}

// Text adds a text.
func (head Head) Text(name, text string) Head { return head.Raw(name, Quote(text)) }

// Number adds a whole number.
func (head Head) Number(name string, number uint64) Head {
	return head.Raw(name, strconv.FormatUint(number, 10))
}

// Headers adds headers, if there are any.
func (head Head) Headers(headers []Header) Head {
	if len(headers) == 0 {
		return head
	}
	var pairs []string
	for _, header := range headers {
		pairs = append(pairs, "["+Quote(header[0])+","+Quote(header[1])+"]")
	}
	return head.Raw("headers", "["+strings.Join(pairs, ",")+"]")
}

// End is the whole object.
func (head Head) End() string {
	if len(head) == 0 {
		return "{}"
	}
	return string(head) + "}"
}

// Quote writes text as JSON does.
func Quote(text string) string {
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

// JSON is a value of JSON. The zero value is what is not there.
type JSON struct {
	// Written is a text, number, boolean or null as it stands there.
	Written string
	// Items are those of an array, or the values of an object.
	Items []JSON
	// Names are those of an object.
	Names []string
}

// Get gives the value of a name in an object.
func (json JSON) Get(name string) JSON {
	for at := len(json.Names) - 1; at >= 0; at-- {
		if json.Names[at] == name {
			return json.Items[at]
		}
	}
	return JSON{}
}

// Text gives a text, if it is one.
func (json JSON) Text() (string, bool) {
	if !strings.HasPrefix(json.Written, `"`) {
		return "", false
	}
	return unquote(json.Written), true
}

// Number gives a whole number, or 0.
func (json JSON) Number() uint64 {
	number, _ := strconv.ParseUint(json.Written, 10, 64)
	return number
}

// True says whether it is true.
func (json JSON) True() bool { return json.Written == "true" }

func (json JSON) headers() []Header {
	var headers []Header
	for _, pair := range json.Items {
		if len(pair.Items) == 2 {
			name, _ := pair.Items[0].Text()
			value, _ := pair.Items[1].Text()
			headers = append(headers, Header{name, value})
		}
	}
	return headers
}

func header(headers []Header, name string) string {
	for _, header := range headers {
		if strings.ToLower(header[0]) == name {
			return header[1]
		}
	}
	return ""
}

// Parse reads JSON, unless it is none or nested deeper than 127.
func Parse(text string) (JSON, bool) {
	json, rest, ok := parse(text, 0)
	return json, ok && strings.TrimLeft(rest, space) == ""
}

const space = " \t\r\n"

func parse(text string, depth int) (json JSON, rest string, ok bool) {
	text = strings.TrimLeft(text, space)
	if text == "" || depth > 127 {
		return json, text, false
	}
	switch text[0] {
	case '"':
		end := 1
		for end < len(text) && text[end] != '"' {
			if text[end] == '\\' {
				end++
			}
			end++
		}
		if end >= len(text) {
			return json, text, false
		}
		return JSON{Written: text[:end+1]}, text[end+1:], true
	case '{', '[':
		return parseList(text, depth)
	}
	end := strings.IndexAny(text, space+",:{}[]\"")
	if end < 0 {
		end = len(text)
	}
	switch written := text[:end]; {
	case written == "null" || written == "true" || written == "false":
	case end == 0 || strings.Trim(written, "+-.0123456789Ee") != "":
		return json, text, false
	}
	return JSON{Written: text[:end]}, text[end:], true
}

func parseList(text string, depth int) (json JSON, rest string, ok bool) {
	open := text[0]
	rest = strings.TrimLeft(text[1:], space)
	if rest != "" && rest[0] == open+2 {
		return json, rest[1:], true
	}
	for {
		if open == '{' {
			var name JSON
			if name, rest, ok = parse(rest, depth); !ok {
				return json, rest, false
			}
			text, isText := name.Text()
			rest = strings.TrimLeft(rest, space)
			if !isText || rest == "" || rest[0] != ':' {
				return json, rest, false
			}
			json.Names = append(json.Names, text)
			rest = rest[1:]
		}
		var item JSON
		if item, rest, ok = parse(rest, depth+1); !ok {
			return json, rest, false
		}
		json.Items = append(json.Items, item)
		rest = strings.TrimLeft(rest, space)
		if rest == "" {
			return json, rest, false
		}
		end := rest[0]
		rest = rest[1:]
		if end == open+2 {
			return json, rest, true
		}
		if end != ',' {
			return json, rest, false
		}
	}
}

func unquote(quoted string) string {
	text := quoted[1 : len(quoted)-1]
	var out []byte
	for at := 0; at < len(text); at++ {
		if text[at] != '\\' || at+1 >= len(text) {
			out = append(out, text[at])
			continue
		}
		at++
		if known := strings.IndexByte(`bfnrt`, text[at]); known >= 0 {
			out = append(out, "\b\f\n\r\t"[known])
		} else if text[at] != 'u' {
			out = append(out, text[at])
		} else {
			code := hex4(text[at+1:])
			at += 4
			// Two halves make a character beyond the first 65,536.
			if code>>10 == 0x36 && strings.HasPrefix(text[min(at+1, len(text)):], `\u`) {
				if low := hex4(text[at+3:]); low>>10 == 0x37 {
					code = 0x10000 + (code&0x3ff)<<10 + low&0x3ff
					at += 6
				}
			}
			out = append(out, string(rune(code))...)
		}
	}
	return string(out)
}

func hex4(text string) uint64 {
	code, _ := strconv.ParseUint(text[:min(4, len(text))], 16, 32)
	return code
}

var k = [64]uint32{
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}

// SHA256 is the hash of these bytes in hexadecimal digits.
func SHA256(data []byte) string {
	hash := [8]uint32{
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
	}
	padded := append(append([]byte{}, data...), 0x80)
	for len(padded)%64 != 56 {
		padded = append(padded, 0)
	}
	padded = binary.BigEndian.AppendUint64(padded, uint64(len(data))*8)
	turned := func(word uint32, by int) uint32 { return bits.RotateLeft32(word, -by) }
	for ; len(padded) > 0; padded = padded[64:] {
		var w [64]uint32
		h := hash
		for n := range w {
			if n < 16 {
				w[n] = binary.BigEndian.Uint32(padded[n*4:])
			} else {
				a, b := w[n-15], w[n-2]
				w[n] = w[n-16] + w[n-7] + (turned(a, 7) ^ turned(a, 18) ^ a>>3) + (turned(b, 17) ^ turned(b, 19) ^ b>>10)
			}
			e, a := h[4], h[0]
			one := h[7] + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + (e&h[5] ^ ^e&h[6]) + k[n] + w[n]
			two := (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + (a&h[1] ^ a&h[2] ^ h[1]&h[2])
			copy(h[1:], h[:7])
			h[4] += one
			h[0] = one + two
		}
		for n := range hash {
			hash[n] += h[n]
		}
	}
	out := make([]byte, 64)
	for n := range out {
		out[n] = "0123456789abcdef"[hash[n/8]>>(28-n%8*4)&15]
	}
	return string(out)
}
