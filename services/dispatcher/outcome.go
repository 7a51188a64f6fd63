package dispatcher

import (
	"context"
	"fmt"
	"time"

	"github.com/joinery/joinery/pkg/crash"
	"github.com/joinery/joinery/pkg/identity"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// outcome is what is known of the end so far.
func (p *pursuit) outcome(ctx context.Context) *joineryv1.Outcome {
	c := p.cmd
	return &joineryv1.Outcome{
		Id: "dispatcher:" + c.GetId(), Stage: joineryv1.Stage_STAGE_DISPATCHER,
		EventId: c.GetEventId(), CommandId: c.GetId(), Target: p.name, Identity: c.GetIdentity(),
		Revision: c.GetRevision(), Lane: c.GetLane(), Operation: p.operation, Attributes: p.changed,
		Requests: p.requests, Attempts: int32(p.account.Attempts + 1), RemoteId: p.account.RemoteID,
		TraceId: traceID(ctx), ReceivedAt: c.GetIssuedAt(), At: timestamppb.Now(), Mapping: c.GetMapping(),
	}
}

// restore fills an outcome from what the account remembers of it.
func (p *pursuit) restore(o *joineryv1.Outcome, last identity.Outcome) *joineryv1.Outcome {
	o.Result = joineryv1.Result(joineryv1.Result_value[last.Result])
	o.Operation, o.Reason, o.Attributes, o.Requests = last.Operation, last.Reason, last.Changed, last.Requests
	o.At = timestamppb.New(last.At)
	return o
}

// finish stores the account with the outcome that is about to be published, so
// that a crash in between is repaired by the next delivery.
func (p *pursuit) finish(ctx context.Context, o *joineryv1.Outcome) error {
	p.account.Finished = max(p.account.Finished, p.cmd.GetRevision())
	p.account.Outcome = identity.Outcome{
		Result: o.GetResult().String(), Operation: o.GetOperation(), Event: o.GetEventId(),
		Command: o.GetCommandId(), Revision: o.GetRevision(), Reason: o.GetReason(),
		Requests: o.GetRequests(), Changed: o.GetAttributes(), At: o.GetAt().AsTime(),
	}
	if o.GetResult() == joineryv1.Result_RESULT_APPLIED || o.GetResult() == joineryv1.Result_RESULT_NO_CHANGE {
		p.account.Mapping = p.cmd.GetMapping()
	}
	err := p.save(ctx)
	crash.At(ctx, crash.DispatcherStored)
	return err
}

// record publishes the outcome of the command, and of every earlier command
// newer than before that it took the place of.
func (p *pursuit) record(ctx context.Context, o *joineryv1.Outcome, before uint64) error {
	for _, e := range p.cmd.GetEarlier() {
		if e.GetRevision() <= before {
			continue
		}
		err := p.outbox.Outcome(ctx, &joineryv1.Outcome{
			Id:    "dispatcher:" + identity.CommandID(p.name, p.cmd.GetIdentity(), e.GetRevision()),
			Stage: joineryv1.Stage_STAGE_DISPATCHER, Result: joineryv1.Result_RESULT_SUPERSEDED,
			EventId: e.GetEventId(), CommandId: identity.CommandID(p.name, p.cmd.GetIdentity(), e.GetRevision()),
			Target: p.name, Identity: p.cmd.GetIdentity(), Revision: e.GetRevision(),
			SupersededBy: p.cmd.GetRevision(), TraceId: traceID(ctx), At: timestamppb.Now(),
		})
		if err != nil {
			return fmt.Errorf("record a superseded command: %w", err)
		}
	}
	if err := p.outbox.Outcome(ctx, o); err != nil {
		return fmt.Errorf("record an outcome: %w", err)
	}
	crash.At(ctx, crash.DispatcherRecorded)
	p.report(ctx, o)
	return nil
}

// report is the one wide log line of a command.
func (p *pursuit) report(ctx context.Context, o *joineryv1.Outcome) {
	lane, result := identity.LaneName(o.GetLane()), identity.ResultName(o.GetResult())
	p.metrics.outcomes.Add(1, p.name, lane, o.GetOperation(), result)
	if o.GetReceivedAt() != nil {
		p.metrics.latency.Observe(time.Since(o.GetReceivedAt().AsTime()).Seconds(), p.name, lane)
	}
	p.log.InfoContext(ctx, "command ended",
		"target", p.name, "identity", o.GetIdentity(), "event", o.GetEventId(), "revision", o.GetRevision(),
		"lane", lane, "result", result, "operation", o.GetOperation(), "attributes", o.GetAttributes(),
		"requests", o.GetRequests(), "attempts", o.GetAttempts(), "reason", o.GetReason())
}

func traceID(ctx context.Context) string {
	if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() {
		return sc.TraceID().String()
	}
	return ""
}
