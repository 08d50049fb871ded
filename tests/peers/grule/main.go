// Command oracle answers the JSON lines of `eventrunner rules run` with the real Grule engine.
//
//	oracle                      requests on stdin, answers on stdout
//	oracle bench RULES EVENTS   how fast Grule takes the events of a file through the rules of another
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) == 4 && os.Args[1] == "bench" {
		if err := bench(os.Args[2], os.Args[3]); err != nil {
			fail(err)
		}
		return
	}
	if len(os.Args) != 1 {
		fail(fmt.Errorf("usage: oracle [bench RULES EVENTS]"))
	}
	if err := serve(); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(2)
}

func serve() error {
	input := bufio.NewReaderSize(os.Stdin, 1<<20)
	output := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(output)
	encoder.SetEscapeHTML(false)
	logs := captureLogs()
	for {
		line, err := input.ReadBytes('\n')
		if len(line) > 1 {
			var request Request
			if err := json.Unmarshal(line, &request); err != nil {
				return fmt.Errorf("not a request: %w: %s", err, line)
			}
			if err := encoder.Encode(answer(&request, logs)); err != nil {
				return err
			}
		}
		// Whoever waits for one answer gets it; a batch is written in large pieces.
		if err != nil || input.Buffered() == 0 {
			if err := output.Flush(); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}
