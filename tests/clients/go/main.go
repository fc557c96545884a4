// Publishes messages and asks for them again, with nothing of Millrace but what is generated from proto/.
//
//	client INGEST_ADDRESS QUERY_ADDRESS DAY [PAYLOAD ...]
//
// The key is MILLRACE_API_KEY. Prints one JSON object: how many payloads were accepted and rejected, and the msg_id and
// type of each message of the day, once the query service counts as many as were accepted.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	ingest "millrace.test/client/gen/millrace/ingest/v1"
	query "millrace.test/client/gen/millrace/query/v1"
)

const (
	doneWithin = 60 * time.Second
	lookEvery  = 50 * time.Millisecond
)

type outcome struct {
	Accepted int              `json:"accepted"`
	Rejected []string         `json:"rejected"`
	Messages map[string]int32 `json:"messages"`
}

func main() {
	found, err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		os.Exit(1)
	}
}

func run(ingestAddress, queryAddress, day string, payloads []string) (*outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), doneWithin)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "x-api-key", os.Getenv("MILLRACE_API_KEY"))

	found := &outcome{Messages: map[string]int32{}}
	if err := publish(ctx, ingestAddress, payloads, found); err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	if err := search(ctx, queryAddress, day, found); err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	return found, nil
}

func publish(ctx context.Context, address string, payloads []string, found *outcome) error {
	connection, err := connect(address)
	if err != nil {
		return err
	}
	defer connection.Close()
	request := &ingest.PublishRequest{}
	for _, payload := range payloads {
		request.Payloads = append(request.Payloads, []byte(payload))
	}
	response, err := ingest.NewIngestServiceClient(connection).Publish(ctx, request)
	if err != nil {
		return err
	}
	for _, result := range response.GetResults() {
		if result.GetAccepted() != nil {
			found.Accepted++
		} else {
			found.Rejected = append(found.Rejected, result.GetRejected().GetReason())
		}
	}
	return nil
}

func search(ctx context.Context, address, day string, found *outcome) error {
	connection, err := connect(address)
	if err != nil {
		return err
	}
	defer connection.Close()
	client := query.NewQueryServiceClient(connection)
	days := &query.MessageFilter{StartDate: day, EndDate: day}
	for {
		count, err := client.Count(ctx, &query.CountRequest{Filter: days})
		if err != nil {
			return err
		}
		if count.GetTotal() >= int64(found.Accepted) {
			break
		}
		time.Sleep(lookEvery)
	}
	page, err := client.Search(ctx, &query.SearchRequest{Filter: days, Columns: []string{"msg_id", "msg_type"}})
	if err != nil {
		return err
	}
	for _, item := range page.GetItems() {
		found.Messages[item.GetMsgId()] = item.GetMsgType()
	}
	return nil
}

func connect(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
}
