package main

import "fmt"

// Flight is the data of the events `flight.departed` and `flight.cancelled`. What is not there is nil.
type Flight struct {
	Carrier       *string  `json:"carrier"`
	Origin        *string  `json:"origin"`
	Dest          *string  `json:"dest"`
	TailNumber    *string  `json:"tailnum"`
	SchedDepTime  *int     `json:"sched_dep_time"` // hhmm, local time
	DepTime       *int     `json:"dep_time"`       // hhmm, local time
	DepDelay      *int     `json:"dep_delay"`      // minutes
	AirTime       *float64 `json:"air_time"`       // minutes
	DistanceMiles *float64 `json:"distance"`
}

// Reason is why a flight cannot be believed.
type Reason struct {
	Field   string `json:"field"`
	Problem string `json:"problem"`
}

const (
	minutesOfDay = 24 * 60
	slowestMPH   = 75.0 // Over ground, from take-off to landing.
	fastestMPH   = 750.0
)

// check returns all that is wrong with a flight, nothing if it is plausible.
func check(eventType string, f Flight) []Reason {
	var reasons []Reason
	add := func(field, format string, values ...any) {
		reasons = append(reasons, Reason{field, fmt.Sprintf(format, values...)})
	}
	checkCode(add, "carrier", f.Carrier, 2)
	checkCode(add, "origin", f.Origin, 3)
	checkCode(add, "dest", f.Dest, 3)
	if f.Origin != nil && f.Dest != nil && *f.Origin == *f.Dest {
		add("dest", "is where the flight comes from: %s", *f.Dest)
	}
	for _, clock := range []struct {
		field string
		value *int
	}{{"sched_dep_time", f.SchedDepTime}, {"dep_time", f.DepTime}} {
		if clock.value != nil && !isClock(*clock.value) {
			add(clock.field, "is no time of day: %d", *clock.value)
		}
	}
	if eventType == "flight.departed" {
		checkDeparture(add, f)
	}
	return reasons
}

func checkDeparture(add func(field, format string, values ...any), f Flight) {
	if f.DepTime == nil {
		add("dep_time", "is missing, but the flight has departed")
	}
	if f.TailNumber == nil {
		add("tailnum", "is missing: no aircraft is named")
	}
	if f.DepTime != nil && f.SchedDepTime != nil && f.DepDelay != nil && isClock(*f.DepTime) && isClock(*f.SchedDepTime) {
		late := minutes(*f.DepTime) - minutes(*f.SchedDepTime)
		if (late-*f.DepDelay)%minutesOfDay != 0 {
			add("dep_delay", "is %d, but %04d is %d minutes from %04d", *f.DepDelay, *f.DepTime, late, *f.SchedDepTime)
		}
	}
	if f.AirTime != nil && f.DistanceMiles != nil {
		if speed := *f.DistanceMiles / *f.AirTime * 60; !(slowestMPH <= speed && speed <= fastestMPH) {
			add("air_time", "makes %.0f miles in %.0f minutes", *f.DistanceMiles, *f.AirTime)
		}
	}
}

func checkCode(add func(field, format string, values ...any), field string, code *string, length int) {
	switch {
	case code == nil:
		add(field, "is missing")
	case !isCode(*code, length):
		add(field, "is not %d capital letters or digits: %q", length, *code)
	}
}

func isCode(text string, length int) bool {
	for _, letter := range text {
		if (letter < 'A' || letter > 'Z') && (letter < '0' || letter > '9') {
			return false
		}
	}
	return len(text) == length
}

// isClock allows 2400: the data has midnight so.
func isClock(hhmm int) bool { return 0 <= hhmm && hhmm <= 2400 && hhmm%100 < 60 }

func minutes(hhmm int) int { return hhmm/100*60 + hhmm%100 }
