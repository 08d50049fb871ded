package main

import (
	"io"
	"strings"

	"github.com/hyperjumptech/grule-rule-engine/ast"
	"github.com/hyperjumptech/grule-rule-engine/engine"
	"github.com/sirupsen/logrus"
)

// logs takes what Log and LogFormat print, and the names of rules whose conditions failed, which Grule only logs.
type logs struct {
	answer *Answer
}

const failed = "Failed testing condition for rule : "

func captureLogs() *logs {
	taken := &logs{}
	grl := logrus.New()
	grl.SetOutput(io.Discard)
	grl.AddHook(&hook{taken.printed, logrus.InfoLevel})
	ast.SetLogger(grl)
	ours := logrus.New()
	ours.SetOutput(io.Discard)
	ours.SetLevel(logrus.ErrorLevel)
	ours.AddHook(&hook{taken.failed, logrus.ErrorLevel})
	engine.SetLogger(ours)
	return taken
}

func (l *logs) printed(entry *logrus.Entry) {
	if entry.Data["source"] == "GRL" {
		l.answer.Logs = append(l.answer.Logs, entry.Message)
	}
}

func (l *logs) failed(entry *logrus.Entry) {
	name, found := strings.CutPrefix(entry.Message, failed)
	if !found {
		return
	}
	name, _, _ = strings.Cut(name, ".")
	for _, known := range l.answer.EvalFailed {
		if known == name {
			return
		}
	}
	l.answer.EvalFailed = append(l.answer.EvalFailed, name)
}

type hook struct {
	take  func(*logrus.Entry)
	level logrus.Level
}

func (h *hook) Levels() []logrus.Level { return []logrus.Level{h.level} }

func (h *hook) Fire(entry *logrus.Entry) error {
	h.take(entry)
	return nil
}
