// {{name}}: publishes a `flight.late` event for every flight that left an hour late or more.
package main

import (
	"encoding/json"
	"fmt"

	"consumer/messaging"
)

const lateMinutes = 60

type event struct {
	ID   string  `json:"id"`
	Data *flight `json:"data"`
}

type flight struct {
	DepDelay *float64 `json:"dep_delay"` // Minutes; a cancelled flight has none.
}

type late struct {
	Flight  string  `json:"flight"`
	Minutes float64 `json:"minutes"`
}

func init() { messaging.Handle(handle) }

func main() {}

func handle(msg messaging.Message) error {
	var event event
	if err := json.Unmarshal(msg.Body, &event); err != nil {
		return err
	}
	if event.Data == nil {
		return fmt.Errorf("event %s has no flight as its data", event.ID)
	}
	delay := event.Data.DepDelay
	if delay == nil || *delay < lateMinutes {
		return nil
	}
	messaging.Log(messaging.Info, "flight %s left %v minutes late", event.ID, *delay)
	body, err := json.Marshal(late{event.ID, *delay})
	if err != nil {
		return err
	}
	return messaging.Publish(messaging.Message{Subject: messaging.Subject(msg.Subject, "flight.late"), Body: body})
}
