// Sends events over gRPC on one connection as fast as the server takes them, and prints what that took as JSON:
//
//	grpc_client <address> <key> stream|unary|batch <events> <events at once>
//
// Messages are encoded once and sent as bytes, so that the client's own work is that of the library.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"
)

const service = "/eventrunner.v1.EventIngestService/"

type report struct {
	Seconds   float64 `json:"seconds"`
	ClientCPU float64 `json:"client_cpu"`
	Events    int     `json:"events"`
	Settled   int     `json:"settled"`
}

type raw struct{}

func (raw) Name() string                    { return "proto" }
func (raw) Marshal(v any) ([]byte, error)   { return *v.(*[]byte), nil }
func (raw) Unmarshal(b []byte, v any) error { *v.(*[]byte) = append([]byte(nil), b...); return nil }

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 5 {
		return errors.New("usage: grpc_client <address> <key> stream|unary|batch <events> <events at once>")
	}
	events, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	atOnce, err := strconv.Atoi(args[4])
	if err != nil {
		return err
	}
	connection, err := grpc.NewClient(args[0], grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{}), grpc.WaitForReady(true)))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(context.Background(),
		"authorization", "Bearer "+args[1]), 2*time.Minute)
	defer cancel()
	// The connection is there and the server warm before the clock starts.
	if _, err := unary(ctx, connection, "warm", 1, 1); err != nil {
		return err
	}
	calls := map[string]func(context.Context, *grpc.ClientConn, string, int, int) (int, error){
		"stream": stream, "unary": unary, "batch": batch,
	}
	call := calls[args[2]]
	if call == nil {
		return fmt.Errorf("there is no call %q", args[2])
	}
	started, before := time.Now(), cpu()
	settled, err := call(ctx, connection, "bench", events, atOnce)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(report{time.Since(started).Seconds(), cpu() - before, events, settled})
}

func stream(ctx context.Context, connection *grpc.ClientConn, prefix string, events, _ int) (int, error) {
	call, err := connection.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, service+"IngestStream")
	if err != nil {
		return 0, err
	}
	failed := make(chan error, 1)
	go func() {
		for number := range events {
			message := cloudEvent(prefix, number)
			if err := call.SendMsg(&message); err != nil {
				failed <- err
				return
			}
		}
		failed <- call.CloseSend()
	}()
	settled := 0
	for {
		var answer []byte
		if err := call.RecvMsg(&answer); errors.Is(err, io.EOF) {
			return settled, <-failed
		} else if err != nil {
			return settled, err
		}
		settled = numberOf(answer, 1)
	}
}

func unary(ctx context.Context, connection *grpc.ClientConn, prefix string, events, atOnce int) (int, error) {
	return each(events, atOnce, func(number int) (int, error) {
		var answer []byte
		text := fmt.Sprintf(`{"specversion":"1.0","id":"%s-%d","source":"/go","type":"bench.one","data":{"n":%d}}`, prefix, number, number)
		message := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), text)
		return 1, connection.Invoke(ctx, service+"IngestEvent", &message, &answer)
	})
}

const batchEvents = 500

func batch(ctx context.Context, connection *grpc.ClientConn, prefix string, events, atOnce int) (int, error) {
	return each(events/batchEvents, atOnce, func(number int) (int, error) {
		var message, answer []byte
		for place := range batchEvents {
			message = protowire.AppendTag(message, 1, protowire.BytesType)
			message = protowire.AppendBytes(message, cloudEvent(prefix, number*batchEvents+place))
		}
		err := connection.Invoke(ctx, service+"IngestBatch", &message, &answer)
		return numberOf(answer, 1), err
	})
}

// each makes the calls, so many at once, and adds up what they say was taken.
func each(calls, atOnce int, call func(int) (int, error)) (int, error) {
	numbers := make(chan int)
	var lock sync.Mutex
	var wait sync.WaitGroup
	total, failed := 0, error(nil)
	for range atOnce {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for number := range numbers {
				count, err := call(number)
				lock.Lock()
				total += count
				if err != nil {
					failed = err
				}
				lock.Unlock()
			}
		}()
	}
	for number := range calls {
		numbers <- number
	}
	close(numbers)
	wait.Wait()
	return total, failed
}

func cloudEvent(prefix string, number int) []byte {
	var message []byte
	for field, text := range []string{fmt.Sprintf("%s-%d", prefix, number), "/go", "1.0", "bench.one"} {
		message = protowire.AppendTag(message, protowire.Number(field+1), protowire.BytesType)
		message = protowire.AppendString(message, text)
	}
	message = protowire.AppendTag(message, 7, protowire.BytesType)
	return protowire.AppendString(message, fmt.Sprintf(`{"n":%d}`, number))
}

// numberOf is a field of an answer that is a varint; 0 if it is not there.
func numberOf(message []byte, field protowire.Number) int {
	for len(message) > 0 {
		found, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return 0
		}
		message = message[size:]
		if found == field && kind == protowire.VarintType {
			value, _ := protowire.ConsumeVarint(message)
			return int(value)
		}
		skipped := protowire.ConsumeFieldValue(found, kind, message)
		if skipped < 0 {
			return 0
		}
		message = message[skipped:]
	}
	return 0
}

// cpu is this process's own, in seconds.
func cpu() float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()).Seconds()
}
