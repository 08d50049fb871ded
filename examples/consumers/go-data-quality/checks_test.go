package main

import (
	"encoding/json"
	"testing"
)

func TestTheDelayIsCountedOverMidnight(t *testing.T) {
	var flight Flight
	data := `{"carrier":"UA","origin":"EWR","dest":"IAH","tailnum":"N14228","sched_dep_time":2355,"dep_time":10,"dep_delay":15}`
	if err := json.Unmarshal([]byte(data), &flight); err != nil {
		t.Fatal(err)
	}
	if reasons := check("flight.departed", flight); len(reasons) != 0 {
		t.Fatal(reasons)
	}
}
