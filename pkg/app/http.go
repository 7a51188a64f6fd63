package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// The bounds of every server. Bodies are bounded by their handlers, which know
// what they accept.
const (
	readHeaderTimeout = 5 * time.Second
	// readTimeout covers header and body: 1 MiB at 35 KiB/s.
	readTimeout = 30 * time.Second
	// writeTimeout covers the handler's work. One that streams extends it with
	// http.ResponseController.
	writeTimeout   = 60 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 16 << 10
	// readyTimeout bounds the readiness check: a probe waits no longer.
	readyTimeout = 2 * time.Second
	// defaultGrace is how long requests may take to finish at the stop; below the
	// 30 s that Kubernetes gives to a whole process.
	defaultGrace = 20 * time.Second
)

// HTTP is what a server serves.
type HTTP struct {
	// Addr is host:port, used where Listener is nil.
	Addr string
	// Listener is served instead of Addr, and closed at the end.
	Listener net.Listener
	// Handler answers everything but /healthz, /readyz and /metrics; nil answers 404.
	Handler http.Handler
	// Metrics answers /metrics; nil answers 404.
	Metrics http.Handler
	// Ready says why requests should go elsewhere; the members of a joined error
	// are listed one by one, so they must hold no secret. nil is always ready.
	Ready func(ctx context.Context) error
	// Drain is how long the server goes on after it stopped being ready, so that
	// load balancers notice before the door closes.
	Drain time.Duration
	// Grace is how long requests may take to finish at the stop; 0 means 20 s.
	Grace time.Duration
	// Log may be nil.
	Log *slog.Logger
}

// Serve serves until ctx ends: then it stops being ready, waits for Drain, closes
// the door and lets the requests in flight finish. It returns nil after an orderly
// stop, and an error where the address cannot be listened on, the server fails, or
// requests had to be cut after Grace.
//
//	GET /healthz   200 while the process answers
//	GET /readyz    200 {"ready":true} or 503 {"ready":false,"reasons":["..."]}
//	GET /metrics   Prometheus
//	else           Handler
func Serve(ctx context.Context, o HTTP) error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Grace == 0 {
		o.Grace = defaultGrace
	}
	l := o.Listener
	if l == nil {
		var err error
		if l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", o.Addr); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
	}
	s := &server{HTTP: o}
	s.http = &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
		// Requests outlive ctx: they may finish while the server stops.
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	return s.run(ctx, l)
}

type server struct {
	HTTP
	http     *http.Server
	stopping atomic.Bool
}

func (s *server) run(ctx context.Context, l net.Listener) error {
	s.Log.InfoContext(ctx, "serving http", "address", l.Addr().String())
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve http: %w", err)
	case <-ctx.Done():
	}
	err := s.stop(context.WithoutCancel(ctx), served)
	s.Log.InfoContext(ctx, "stopped http", "address", l.Addr().String())
	return err
}

func (s *server) stop(ctx context.Context, served <-chan error) error {
	s.stopping.Store(true)
	drain := time.NewTimer(s.Drain)
	defer drain.Stop()
	<-drain.C
	ctx, cancel := context.WithTimeout(ctx, s.Grace)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("finish requests within %v: %w", s.Grace, err), s.http.Close())
	}
	<-served //nolint:errcheck // Serve only says that it was closed
	return err
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		respond(w, http.StatusOK, "application/json", map[string]bool{"alive": true})
	})
	mux.HandleFunc("GET /readyz", s.readiness)
	if s.Metrics != nil {
		mux.Handle("GET /metrics", s.Metrics)
	}
	if s.Handler != nil {
		mux.Handle("/", s.Handler)
	}
	return s.recovered(mux)
}

func (s *server) readiness(w http.ResponseWriter, r *http.Request) {
	if s.stopping.Load() {
		unready(w, errors.New("stopping"))
		return
	}
	if s.Ready != nil {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		if err := s.Ready(ctx); err != nil {
			unready(w, err)
			return
		}
	}
	respond(w, http.StatusOK, "application/json", map[string]any{"ready": true})
}

func unready(w http.ResponseWriter, err error) {
	respond(w, http.StatusServiceUnavailable, "application/json", map[string]any{"ready": false, "reasons": reasons(err)})
}

// reasons takes joined errors apart.
func reasons(err error) []string {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return []string{err.Error()}
	}
	var all []string
	for _, one := range joined.Unwrap() {
		all = append(all, reasons(one)...)
	}
	return all
}

// recovered answers a panic with a problem document. The log gets the stack but
// not the panic's value, which may hold a piece of the request.
func (s *server) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p) // net/http's way to break off an answer
			}
			s.Log.ErrorContext(r.Context(), "handler panicked", "type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			Problem(w, http.StatusInternalServerError, "internal", "Internal error", "", nil)
		}()
		next.ServeHTTP(w, r)
	})
}
