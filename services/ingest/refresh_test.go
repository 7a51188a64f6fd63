package ingest_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/joinery/joinery/services/ingest"
)

func TestRotatedSecretIsTakenOverWithoutARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, source("idp", ingest.Bearer{Tokens: []string{"old"}}))
		answers := make(chan []ingest.Source, 1)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			ended <- d.Refresh(ctx, func() ([]ingest.Source, error) {
				select {
				case sources := <-answers:
					return sources, nil
				default:
					return nil, errors.New("the secret is being written")
				}
			})
		}()
		status := func(token string) int {
			return d.post(structured, oneEvent, "Authorization", "Bearer "+token).Code
		}

		<-time.After(31 * time.Second)
		synctest.Wait()
		equal(t, http.StatusAccepted, status("old"))
		if !strings.Contains(d.log.String(), "sources stay as they are") {
			t.Error("nobody is told that the sources could not be read")
		}

		answers <- []ingest.Source{source("idp", ingest.Bearer{Tokens: []string{"new"}})}
		<-time.After(30 * time.Second)
		synctest.Wait()
		equal(t, http.StatusAccepted, status("new"))
		equal(t, http.StatusUnauthorized, status("old"))

		answers <- []ingest.Source{{Name: "idp"}}
		<-time.After(30 * time.Second)
		synctest.Wait()
		equal(t, http.StatusAccepted, status("new"))

		stop()
		equal(t, error(nil), <-ended)
	})
}
