package main

import (
	"encoding/json"
	"errors"
	"math"
)

const deepest = 1000

var errHoldsItself = errors.New("a fact holds itself")

// Request is a line of the protocol of `eventrunner rules run`.
type Request struct {
	ID        any                        `json:"id"`
	GRL       *string                    `json:"grl"`
	GRLJSON   json.RawMessage            `json:"grl_json"`
	GRLs      []string                   `json:"grls"`
	Remove    []string                   `json:"remove"`
	Facts     map[string]json.RawMessage `json:"facts"`
	Mode      string                     `json:"mode"`
	MaxCycle  *uint64                    `json:"max_cycle"`
	ErrOnEval bool                       `json:"err_on_eval"`
	Runs      int                        `json:"runs"`
	// Fresh makes Grule forget all remembered values before each cycle and after each statement:
	// its stale memory is where EventRunner differs on purpose.
	Fresh bool `json:"fresh"`
}

// Answer is a line of the protocol of `eventrunner rules run`.
type Answer struct {
	ID         any            `json:"id"`
	Facts      map[string]any `json:"facts"`
	Fired      []string       `json:"fired"`
	Cycles     uint64         `json:"cycles"`
	Matched    []string       `json:"matched"`
	Logs       []string       `json:"logs"`
	EvalFailed []string       `json:"eval_failed"`
	GRLOut     *string        `json:"grl_out"`
	Error      *string        `json:"error"`
	Detail     string         `json:"detail,omitempty"`
}

func newAnswer(id any) *Answer {
	return &Answer{
		ID: id, Facts: map[string]any{}, Fired: []string{}, Matched: []string{}, Logs: []string{}, EvalFailed: []string{},
	}
}

func (a *Answer) fail(kind string, detail any) *Answer {
	a.Error = &kind
	switch told := detail.(type) {
	case error:
		a.Detail = told.Error()
	case string:
		a.Detail = told
	}
	return a
}

// plain is a fact as JSON can hold it: infinities and NaN become null. A fact that holds itself panics.
func plain(value any, depth int) any {
	if depth > deepest {
		panic(errHoldsItself)
	}
	switch v := value.(type) {
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return nil
		}
	case map[string]any:
		for key, item := range v {
			v[key] = plain(item, depth+1)
		}
	case []any:
		for index, item := range v {
			v[index] = plain(item, depth+1)
		}
	}
	return value
}
