// Data quality: publishes `flight.invalid` with all reasons for a flight that cannot be believed.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"consumer/messaging"
)

type event struct {
	ID     string          `json:"id"`
	Source string          `json:"source"`
	Type   string          `json:"type"`
	Data   json.RawMessage `json:"data"`
}

// invalid names the event by what makes it unique.
type invalid struct {
	ID      string   `json:"id"`
	Source  string   `json:"source"`
	Type    string   `json:"type"`
	Reasons []Reason `json:"reasons"`
}

func init() { messaging.Handle(handle) }

func main() {}

func handle(msg messaging.Message) error {
	var event event
	if err := json.Unmarshal(msg.Body, &event); err != nil {
		return err
	}
	reasons := judge(event)
	if len(reasons) == 0 {
		return nil
	}
	messaging.Log(messaging.Warn, "flight %s has %d faults", event.ID, len(reasons))
	body, err := json.Marshal(invalid{event.ID, event.Source, event.Type, reasons})
	if err != nil {
		return err
	}
	tenant := strings.Split(msg.Subject, ".")[1]
	return messaging.Publish(messaging.Message{Subject: "results." + tenant + ".flight.invalid", Body: body})
}

// judge tells data of the wrong shape by its field, too: trying the event again would not mend it.
func judge(event event) []Reason {
	if len(event.Data) == 0 {
		return []Reason{{"data", "is missing"}}
	}
	var flight Flight
	err := json.Unmarshal(event.Data, &flight)
	if wrong := new(json.UnmarshalTypeError); errors.As(err, &wrong) {
		return []Reason{{cmp.Or(wrong.Field, "data"), fmt.Sprintf("is a %s, not of type %s", wrong.Value, wrong.Type.Kind())}}
	}
	return check(event.Type, flight)
}
