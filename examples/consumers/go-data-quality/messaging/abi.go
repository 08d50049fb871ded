package messaging

// The canonical ABI of wit/world.wit, written by hand:
// https://github.com/WebAssembly/component-model/blob/main/design/mvp/CanonicalABI.md

import (
	"structs"
	"unsafe"
)

// result is a result<_, string>. Addresses have 32 bits there, and 64 in Go.
type result struct {
	_      structs.HostLayout
	failed bool
	at     uint32
	length uint32
}

//go:wasmimport wasmcloud:messaging/consumer@0.2.0 publish
func importPublish(subject string, body string, hasReplyTo bool, replyTo string, answer *result)

//go:wasmimport wasi:logging/logging@0.1.0-draft log
func log(level Level, context string, message string)

// lent is what the host writes into, until somebody here has a pointer to it.
var lent [][]uint64

//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, oldSize, align, size uint32) unsafe.Pointer {
	made := make([]uint64, (size+7)/8+1) // Aligned to 8, which is the most that is asked for.
	start := unsafe.Pointer(unsafe.SliceData(made))
	copy(bytesAt(start, size), bytesAt(old, oldSize))
	lent = append(lent, made)
	return start
}

// answer lives until the next call; so does the text that it points to.
var (
	answer  result
	refusal []byte
)

//go:wasmexport wasmcloud:messaging/handler@0.2.0#handle-message
func handleMessage(
	subject unsafe.Pointer, subjectLength uint32, body unsafe.Pointer, bodyLength uint32,
	hasReplyTo bool, replyTo unsafe.Pointer, replyToLength uint32,
) *result {
	lent = nil
	answer = result{}
	if err := call(Message{string(bytesAt(subject, subjectLength)), bytesAt(body, bodyLength)}); err != nil {
		refusal = []byte(err.Error())
		at := uintptr(unsafe.Pointer(unsafe.SliceData(refusal)))
		answer.failed, answer.at, answer.length = true, uint32(at), uint32(len(refusal))
	}
	return &answer
}

// publish returns why it was refused, or nothing.
func publish(subject string, body []byte) string {
	var answer result
	importPublish(subject, unsafe.String(unsafe.SliceData(body), len(body)), false, "", &answer)
	defer func() { lent = nil }()
	if !answer.failed {
		return ""
	}
	return string(bytesAt(unsafe.Add(unsafe.Pointer(nil), answer.at), answer.length))
}

func bytesAt(start unsafe.Pointer, length uint32) []byte { return unsafe.Slice((*byte)(start), length) }
