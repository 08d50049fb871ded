// Package messaging is wasmcloud:messaging 0.2.0 for a consumer in Go.
package messaging

import (
	"errors"
	"fmt"
	"strings"
)

// Message is what a consumer is handed and what it publishes.
type Message struct {
	Subject string // <stream>.<tenant>.<type>
	Body    []byte // A CloudEvent in JSON. Of what is published it may be other bytes, too: they become the data of one.
}

// Handler handles one event. With an error the event is tried again, and at last kept as a dead letter with the error's text.
type Handler func(Message) error

var handler Handler

// Handle names the handler. Call it in init: main is not run.
func Handle(h Handler) { handler = h }

// Publish emits an event of the same tenant.
func Publish(msg Message) error {
	if refusal := publish(msg.Subject, msg.Body); refusal != "" {
		return errors.New(refusal)
	}
	return nil
}

// Subject returns the subject for events of a type, beside one of the same stream and tenant.
func Subject(beside, eventType string) string {
	tokens := strings.SplitN(beside, ".", 3)
	return tokens[0] + "." + tokens[1] + "." + eventType
}

// Level of a line that is logged.
type Level uint32

const (
	Trace Level = iota
	Debug
	Info
	Warn
	Error
	Critical
)

// Log writes a line to the log of the consumer.
func Log(level Level, format string, values ...any) { log(level, "", fmt.Sprintf(format, values...)) }

// A panic is an error like another: the event is the cause of it more often than not.
func call(msg Message) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("panic: %v", reason)
		}
	}()
	return handler(msg)
}
