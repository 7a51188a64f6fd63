package joinery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// benchLatency measures what Joinery adds to the target's own time.
func benchLatency(ctx context.Context, o benchOptions) (_ map[string]float64, err error) {
	target, err := openBenchTarget(ctx, "acme", 5*time.Millisecond, false)
	if err != nil {
		return nil, err
	}
	r, err := newRig(ctx, o, false, unbounded, 64, target)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if _, err := r.steady(ctx, "warm", 50, 2); err != nil {
		return nil, err
	}
	accepted, err := r.steady(ctx, "p", 100, o.seconds)
	if err != nil {
		return nil, err
	}
	if err := await(ctx, time.Minute, func() bool { return target.made() == len(accepted)+100 }); err != nil {
		return nil, err
	}
	var beyond, whole []time.Duration
	for who, at := range accepted {
		took := target.created[who].Sub(at)
		whole, beyond = append(whole, took), append(beyond, took-target.own[who])
	}
	figures := quantiles("beyond_target", beyond)
	maps.Copy(figures, quantiles("whole", whole))
	figures["events_per_s"] = 100
	return figures, nil
}

// benchSaturation compares Joinery with a client that does the same calls and
// nothing else.
func benchSaturation(ctx context.Context, o benchOptions) (map[string]float64, error) {
	durable, err := saturate(ctx, o, false)
	if err != nil {
		return nil, err
	}
	relaxed, err := saturate(ctx, o, true)
	if err != nil {
		return nil, err
	}
	bare, err := bareClient(ctx, o)
	if err != nil {
		return nil, err
	}
	return map[string]float64{
		"durable_accounts_per_s": durable, "relaxed_accounts_per_s": relaxed, "bare_client_accounts_per_s": bare,
		"durable_share_of_bare": durable / bare, "relaxed_share_of_bare": relaxed / bare,
	}, nil
}

func saturate(ctx context.Context, o benchOptions, relaxed bool) (_ float64, err error) {
	target, err := openBenchTarget(ctx, "acme", 0, false)
	if err != nil {
		return 0, err
	}
	r, err := newRig(ctx, o, relaxed, unbounded, 256, target)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	begun := time.Now()
	if err := r.backlog(ctx, "p", o.people); err != nil {
		return 0, err
	}
	if err := await(ctx, 5*time.Minute, func() bool { return target.made() == o.people }); err != nil {
		return 0, err
	}
	return float64(o.people) / time.Since(begun).Seconds(), nil
}

// bareClient does what an account costs at the target, a search and a POST, with
// as many requests at a time.
func bareClient(ctx context.Context, o benchOptions) (float64, error) {
	target, err := openBenchTarget(ctx, "bare", 0, false)
	if err != nil {
		return 0, err
	}
	defer target.close()
	client := benchClient()
	call := func(method, url, body string) error {
		req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
		if err != nil {
			return fmt.Errorf("build a request: %w", err)
		}
		res, err := client.Do(req)
		if err != nil {
			return fmt.Errorf("call: %w", err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		return res.Body.Close()
	}
	var next atomic.Int64
	var workers sync.WaitGroup
	failed := make(chan error, 64)
	begun := time.Now()
	for range 64 {
		workers.Go(func() {
			for i := next.Add(1); i <= int64(o.people); i = next.Add(1) {
				who := fmt.Sprintf("b%06d", i)
				err := call(http.MethodGet, target.url+`/Users?filter=externalId+eq+%22`+who+`%22`, "")
				if err == nil {
					err = call(http.MethodPost, target.url+"/Users", fmt.Sprintf(`{"externalId":%q,"userName":"%s@example.com","title":"Rep"}`, who, who))
				}
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	workers.Wait()
	select {
	case err := <-failed:
		return 0, err
	default:
		return float64(o.people) / time.Since(begun).Seconds(), nil
	}
}

// rateAllowed is what the target of benchmark rate allows a second.
const rateAllowed = 50

// benchRate measures how much of a rate is used, and whether it is exceeded.
func benchRate(ctx context.Context, o benchOptions) (_ map[string]float64, err error) {
	target, err := openBenchTarget(ctx, "acme", 20*time.Millisecond, false)
	if err != nil {
		return nil, err
	}
	r, err := newRig(ctx, o, false, rateAllowed, 8, target)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.backlog(ctx, "p", rateAllowed*(o.seconds+10)); err != nil {
		return nil, err
	}
	if err := await(ctx, time.Minute, func() bool { return target.made() > 0 }); err != nil {
		return nil, err
	}
	from := time.Now().Add(2 * time.Second)
	to := from.Add(time.Duration(o.seconds) * time.Second)
	if err := await(ctx, time.Duration(o.seconds+60)*time.Second, func() bool { return time.Now().After(to) }); err != nil {
		return nil, err
	}
	sent := float64(target.between(from, to))
	return map[string]float64{
		"allowed_per_s": rateAllowed, "used_share": sent / float64(rateAllowed*o.seconds),
		"most_in_any_second": float64(target.peak()), "above_rate": max(0, float64(target.peak()-rateAllowed)),
	}, nil
}

// benchLeaver measures how soon a leaver is disabled who comes behind a backlog.
func benchLeaver(ctx context.Context, o benchOptions) (_ map[string]float64, err error) {
	const perSecond, leavers = 10, 20
	target, err := openBenchTarget(ctx, "acme", 0, false)
	if err != nil {
		return nil, err
	}
	r, err := newRig(ctx, o, false, perSecond, 8, target)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.backlog(ctx, "leaver", leavers); err != nil {
		return nil, err
	}
	if err := await(ctx, time.Minute, func() bool { return target.made() == leavers }); err != nil {
		return nil, err
	}
	if err := r.backlog(ctx, "p", o.backlog); err != nil {
		return nil, err
	}
	var times []time.Duration
	for i := range leavers {
		who := fmt.Sprintf("leaver%06d", i)
		at, err := r.send(ctx, happen("left", who))
		if err != nil {
			return nil, err
		}
		ended := func() time.Time {
			target.mu.Lock()
			defer target.mu.Unlock()
			return target.ended[who]
		}
		if err := await(ctx, 5*time.Minute, func() bool { return !ended().IsZero() }); err != nil {
			return nil, err
		}
		times = append(times, ended().Sub(at))
	}
	figures := quantiles("leaver", times)
	figures["joiners_waiting"] = float64(o.backlog)
	figures["requests_per_s"] = perSecond
	return figures, nil
}

// benchIsolation measures what a hung target costs the others.
func benchIsolation(ctx context.Context, o benchOptions) (map[string]float64, error) {
	alone, err := beside(ctx, o, false)
	if err != nil {
		return nil, err
	}
	hung, err := beside(ctx, o, true)
	if err != nil {
		return nil, err
	}
	out := map[string]float64{}
	maps.Copy(out, quantiles("healthy", alone))
	maps.Copy(out, quantiles("beside_hung", hung))
	out["p99_change_percent"] = 100 * (out["beside_hung_p99_ms"]/out["healthy_p99_ms"] - 1)
	return out, nil
}

// beside runs twenty targets, of which the last may hang, and gives the times of
// the other nineteen.
func beside(ctx context.Context, o benchOptions, hung bool) (_ []time.Duration, err error) {
	var targets []*benchTarget
	for i := range 20 {
		t, err := openBenchTarget(ctx, fmt.Sprintf("target%02d", i), 5*time.Millisecond, hung && i == 19)
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	r, err := newRig(ctx, o, false, unbounded, 4, targets...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if _, err := r.steady(ctx, "warm", 5, 2); err != nil {
		return nil, err
	}
	accepted, err := r.steady(ctx, "p", 5, o.seconds)
	if err != nil {
		return nil, err
	}
	var times []time.Duration
	for _, t := range targets[:19] {
		if err := await(ctx, time.Minute, func() bool { return t.made() == len(accepted)+10 }); err != nil {
			return nil, err
		}
		for who, at := range accepted {
			times = append(times, t.created[who].Sub(at))
		}
	}
	return times, nil
}
