// A client's message to the CRM and the manager's answers out of it, in Go, with Debian's packages
// and without modules. With modules, give your own import path in place of amochats/v1.
//
//	$ sudo apt-get install golang-go golang-google-grpc-dev golang-github-golang-protobuf-1-5-dev protobuf-compiler protoc-gen-go-1-5 protoc-gen-go-grpc
//	$ mkdir -p gopath/src
//	$ protoc -I ../../proto --go_out=gopath/src --go-grpc_out=gopath/src ../../proto/amochats/v1/*.proto
//	$ GO111MODULE=off GOPATH=$PWD/gopath:/usr/share/gocode go build -o channel channel.go
//	$ ./channel "$ACCOUNT_ID" "Is my order ready?"
//
// AMOCHATS_SERVER is host:port of the server.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	mathrand "math/rand"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	pb "amochats/v1"
)

// passing tells whether the server is away or busy: the same call may succeed later.
func passing(err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.ResourceExhausted
}

// backoff gives delays that grow, drawn at random so that clients do not come back all at once.
type backoff struct{ longest time.Duration }

func (b *backoff) wait(ctx context.Context) {
	if b.longest < 100*time.Millisecond {
		b.longest = 100 * time.Millisecond
	}
	delay := time.Duration(mathrand.Int63n(int64(b.longest)))
	if b.longest *= 2; b.longest > 10*time.Second {
		b.longest = 10 * time.Second
	}
	select {
	case <-time.After(delay):
	case <-ctx.Done():
	}
}

type client struct {
	channels pb.ChannelServiceClient
	inbox    pb.InboxServiceClient
	outbox   pb.OutboxServiceClient
	scope    *pb.Scope
	backoff  backoff
}

// call makes a call that may be repeated, as each one here, until it succeeds or will never.
func (c *client) call(ctx context.Context, make func(context.Context) error) error {
	for {
		deadline, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := make(deadline)
		cancel()
		if err == nil || ctx.Err() != nil || !passing(err) {
			return err
		}
		c.backoff.wait(ctx)
	}
}

// connectAccount connects the channel to the account, unless it is.
func (c *client) connectAccount(ctx context.Context) error {
	return c.call(ctx, func(ctx context.Context) error {
		listed, err := c.channels.ListAccounts(ctx, &pb.ListAccountsRequest{})
		if err != nil {
			return err
		}
		for _, account := range listed.Accounts {
			if account.AccountId == c.scope.AccountId && account.State == pb.AccountState_ACCOUNT_STATE_CONNECTED {
				fmt.Println("connected", account.ScopeId)
				return nil
			}
		}
		title := "Shop"
		connected, err := c.channels.Connect(ctx, &pb.ConnectRequest{Scope: c.scope, Title: &title})
		if err == nil {
			fmt.Println("connected", connected.ScopeId)
		}
		return err
	})
}

// send gives a client's message to the outbox, which sends it, if need be later and again.
func (c *client) send(ctx context.Context, text string) error {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return err
	}
	message := &pb.Message{
		MessageId:      fmt.Sprintf("%x", id),
		ConversationId: "c-1",
		Sender:         &pb.Sender{UserId: "u-1", Name: "Anna"},
		Content:        &pb.Content{Kind: &pb.Content_Text{Text: &pb.TextContent{Text: text}}},
	}
	return c.call(ctx, func(ctx context.Context) error {
		_, err := c.outbox.Enqueue(ctx, &pb.EnqueueRequest{
			Scope: c.scope,
			Call:  &pb.EnqueueRequest_Message{Message: message},
		})
		if err == nil {
			fmt.Println("sent", message.MessageId)
		}
		return err
	})
}

// receive hands on the managers' answers until ctx ends, whatever becomes of the connection.
func (c *client) receive(ctx context.Context) error {
	for {
		err := c.stream(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if !passing(err) {
			return err
		}
		c.backoff.wait(ctx)
	}
}

// stream hands on what comes over one stream.
func (c *client) stream(ctx context.Context) error {
	// It outlives ctx by the confirmations that are still on their way.
	whole, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := c.inbox.StreamEvents(whole)
	if err != nil {
		return err
	}
	requests, ended := make(chan *pb.StreamEventsRequest), make(chan struct{})
	defer close(ended)
	go func() {
		// A failed Send is told by Recv.
		for {
			select {
			case request := <-requests:
				_ = stream.Send(request)
			case <-ctx.Done():
				_ = stream.CloseSend()
				return
			case <-ended:
				return
			}
		}
	}()
	send := func(request *pb.StreamEventsRequest) {
		select {
		case requests <- request:
		case <-ctx.Done():
		}
	}
	send(&pb.StreamEventsRequest{Request: &pb.StreamEventsRequest_Subscribe{Subscribe: &pb.Subscribe{
		Subscription: "crm",
		Create:       &pb.CreateOptions{Start: &pb.CreateOptions_Oldest{Oldest: true}},
	}}})
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if response.Subscribed != nil {
			c.backoff = backoff{}
			fmt.Println("subscribed", response.Subscribed.Subscription)
		}
		for _, delivery := range response.Deliveries {
			if ack := handle(delivery); ack != nil {
				send(&pb.StreamEventsRequest{Request: &pb.StreamEventsRequest_Ack{Ack: ack}})
			}
		}
		for _, settled := range response.Settled {
			if settled.Ok {
				fmt.Println("settled", settled.AckId)
			} else {
				log.Printf("not settled (%s) %s", settled.Reason, settled.AckId)
			}
		}
	}
}

// handle hands on an event, and gives what acknowledges it.
func handle(delivery *pb.Delivery) *pb.Ack {
	if delivery.AckId == "" {
		return nil // Typing: it needs no settlement.
	}
	ack := &pb.Ack{AckId: delivery.AckId}
	if message := delivery.Event.GetMessage(); message != nil {
		// Here it goes to the client's messenger. Only then it is acknowledged.
		fmt.Println("message", ack.AckId, message.GetConversationId(), message.GetMessageRefId(), message.Text)
		if message.MessageRefId != nil {
			ack.DeliveryStatus = &pb.DeliveryStatus{State: pb.DeliveryState_DELIVERY_STATE_DELIVERED}
		}
	}
	return ack
}

func run(ctx context.Context, accountID, text string) error {
	address := os.Getenv("AMOCHATS_SERVER")
	if address == "" {
		address = "127.0.0.1:50051"
	}
	// A dead connection is noticed, and made anew.
	alive := keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}
	connection, err := grpc.Dial(address, grpc.WithInsecure(), grpc.WithKeepaliveParams(alive))
	if err != nil {
		return err
	}
	defer connection.Close()
	c := &client{
		channels: pb.NewChannelServiceClient(connection),
		inbox:    pb.NewInboxServiceClient(connection),
		outbox:   pb.NewOutboxServiceClient(connection),
		scope:    &pb.Scope{AccountId: accountID},
	}
	if err := c.connectAccount(ctx); err != nil {
		return err
	}
	if err := c.send(ctx, text); err != nil {
		return err
	}
	return c.receive(ctx)
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: channel ACCOUNT_ID TEXT")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}
