package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"syscall"
	"time"

	"github.com/hyperjumptech/grule-rule-engine/ast"
	"github.com/hyperjumptech/grule-rule-engine/builder"
	"github.com/hyperjumptech/grule-rule-engine/engine"
	"github.com/hyperjumptech/grule-rule-engine/pkg"
)

const (
	enough  = 2 * time.Second
	atLeast = 2
)

// Measured is what the bench mode prints.
type Measured struct {
	BuildSeconds float64 `json:"build_seconds"`
	// Seconds of CPU time for the events, which are taken in turn for two seconds.
	Seconds float64 `json:"seconds"`
	Events  int     `json:"events"`
	Fired   int     `json:"fired"`
}

func bench(rulesFile, eventsFile string) error {
	rules, err := os.ReadFile(rulesFile)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(eventsFile)
	if err != nil {
		return err
	}
	events := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	var measured Measured
	started := cpu()
	library := ast.NewKnowledgeLibrary()
	build := builder.NewRuleBuilder(library)
	if err := build.BuildRuleFromResource(base, version, pkg.NewBytesResource(rules)); err != nil {
		return err
	}
	knowledge, err := library.NewKnowledgeBaseInstance(base, version)
	if err != nil {
		return err
	}
	measured.BuildSeconds = (cpu() - started).Seconds()
	counter := &counter{}
	grule := engine.NewGruleEngine()
	grule.Listeners = []engine.GruleEngineListener{counter}
	started = cpu()
	for cpu()-started < enough || measured.Events < atLeast {
		facts := ast.NewDataContext()
		if err := facts.AddJSON("Event", events[measured.Events%len(events)]); err != nil {
			return err
		}
		if err := grule.Execute(facts, knowledge); err != nil {
			return err
		}
		measured.Events++
	}
	measured.Seconds = (cpu() - started).Seconds()
	measured.Fired = counter.fired
	return json.NewEncoder(os.Stdout).Encode(measured)
}

type counter struct {
	fired int
}

func (c *counter) BeginCycle(context.Context, uint64) {}

func (c *counter) EvaluateRuleEntry(context.Context, uint64, *ast.RuleEntry, bool) {}

func (c *counter) ExecuteRuleEntry(context.Context, uint64, *ast.RuleEntry) { c.fired++ }

// cpu is the CPU time of the process; GOMAXPROCS=1 makes it that of one thread at a time.
func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
