package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/hyperjumptech/grule-rule-engine/ast"
	"github.com/hyperjumptech/grule-rule-engine/builder"
	"github.com/hyperjumptech/grule-rule-engine/engine"
	"github.com/hyperjumptech/grule-rule-engine/pkg"
)

const (
	base, version = "base", "1"
	// forget is a rule that never fires; its statement resets the working memory wherever it is put.
	forget     = "OracleForgets"
	forgetText = `rule OracleForgets { when false then Changed(""); }`
)

func answer(request *Request, taken *logs) (reply *Answer) {
	reply = newAnswer(request.ID)
	taken.answer = reply
	defer func() {
		if problem := recover(); problem != nil {
			reply.fail("panic", fmt.Sprint(problem))
		}
	}()
	library := ast.NewKnowledgeLibrary()
	if !build(library, request, reply) {
		return reply
	}
	for _, name := range request.Remove {
		library.GetKnowledgeBase(base, version).RemoveRuleEntry(name)
	}
	knowledge, err := library.NewKnowledgeBaseInstance(base, version)
	if err != nil {
		return reply.fail("instance", err)
	}
	if request.Fresh {
		intersperse(knowledge)
	}
	facts := ast.NewDataContext()
	for name, text := range request.Facts {
		if err := facts.AddJSON(name, text); err != nil {
			return reply.fail("facts", err)
		}
	}
	run(request, knowledge, facts, reply)
	collect(facts, reply)
	return reply
}

func build(library *ast.KnowledgeLibrary, request *Request, reply *Answer) bool {
	var texts []string
	if request.GRL != nil {
		texts = append(texts, *request.GRL)
	}
	if len(request.GRLJSON) > 0 && string(request.GRLJSON) != "null" {
		text, err := translate(request.GRLJSON)
		if err != nil {
			reply.fail("json_rule", err)
			return false
		}
		reply.GRLOut = &text
		texts = append(texts, text)
	}
	texts = append(texts, request.GRLs...)
	if request.Fresh {
		texts = append(texts, forgetText)
	}
	rules := builder.NewRuleBuilder(library)
	for _, text := range append([]string{""}, texts...) {
		if err := rules.BuildRuleFromResource(base, version, pkg.NewBytesResource([]byte(text))); err != nil {
			refuse(reply, err)
			return false
		}
	}
	return true
}

func refuse(reply *Answer, err error) {
	if reporter, ok := err.(*pkg.GruleErrorReporter); ok && reporter.HasError() {
		err = reporter.Errors[0]
	}
	// Within a resource, and beside the rules of earlier ones.
	if strings.HasPrefix(err.Error(), "duplicate rule entry") || strings.HasSuffix(err.Error(), "already exist") {
		reply.fail("duplicate_rule", err)
		return
	}
	reply.fail("syntax", err)
}

// translate takes JSON rules, or a string that holds them.
func translate(rules json.RawMessage) (string, error) {
	var text string
	if json.Unmarshal(rules, &text) != nil {
		text = string(rules)
	}
	resource, err := pkg.NewJSONResourceFromResource(pkg.NewBytesResource([]byte(text)))
	if err != nil {
		return "", err
	}
	grl, err := resource.Load()
	return string(grl), err
}

func intersperse(knowledge *ast.KnowledgeBase) {
	reset := knowledge.RuleEntries[forget].ThenScope.ThenExpressionList.ThenExpressions[0]
	delete(knowledge.RuleEntries, forget)
	for _, rule := range knowledge.RuleEntries {
		list := rule.ThenScope.ThenExpressionList
		var statements []*ast.ThenExpression
		for _, statement := range list.ThenExpressions {
			statements = append(statements, statement, reset)
		}
		list.ThenExpressions = statements
	}
}

func run(request *Request, knowledge *ast.KnowledgeBase, facts ast.IDataContext, reply *Answer) {
	grule := engine.NewGruleEngine()
	grule.ReturnErrOnFailedRuleEvaluation = request.ErrOnEval
	if request.MaxCycle != nil {
		grule.MaxCycle = *request.MaxCycle
	}
	grule.Listeners = []engine.GruleEngineListener{&listener{request.Fresh, knowledge, reply}}
	for range max(request.Runs, 1) {
		if request.Mode == "match" {
			reply.Matched = []string{}
			rules, err := grule.FetchMatchingRules(facts, knowledge)
			for _, rule := range rules {
				reply.Matched = append(reply.Matched, rule.RuleName)
			}
			if err != nil {
				reply.fail("eval", err)
				return
			}
			continue
		}
		if err := grule.Execute(facts, knowledge); err != nil {
			reply.fail(kindOf(err), err)
			if *reply.Error == "max_cycle" {
				reply.Cycles++
			}
			return
		}
	}
}

func kindOf(err error) string {
	switch text := err.Error(); {
	case strings.HasPrefix(text, "error while executing rule"):
		return "exec"
	case strings.HasPrefix(text, "the GruleEngine successfully selected rule candidate"):
		return "max_cycle"
	}
	return "eval"
}

func collect(facts ast.IDataContext, reply *Answer) {
	defer func() {
		if problem := recover(); problem != nil {
			if problem != errHoldsItself {
				panic(problem)
			}
			reply.Facts = map[string]any{}
			reply.fail("facts", problem)
		}
	}()
	for _, name := range facts.GetKeys() {
		if name == "DEFUNC" {
			continue
		}
		reply.Facts[name] = nil
		if value := facts.Get(name).Value(); value.IsValid() {
			reply.Facts[name] = plain(value.Interface(), 0)
		}
	}
}

type listener struct {
	fresh     bool
	knowledge *ast.KnowledgeBase
	reply     *Answer
}

func (l *listener) BeginCycle(context.Context, uint64) {
	if l.fresh {
		l.knowledge.WorkingMemory.ResetAll()
	}
}

func (l *listener) EvaluateRuleEntry(context.Context, uint64, *ast.RuleEntry, bool) {}

func (l *listener) ExecuteRuleEntry(_ context.Context, _ uint64, rule *ast.RuleEntry) {
	l.reply.Fired = append(l.reply.Fired, rule.RuleName)
	l.reply.Cycles++
}
