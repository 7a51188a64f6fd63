package provider_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// BenchmarkDoor is what one door does over one broker that syncs every write: an
// operation is a request with its event on disk.
func BenchmarkDoor(b *testing.B) {
	world := start(b)
	defer world.stop()
	d := world.scim(b, byID())
	var n atomic.Int64
	must := func(status int, method, path, body string) string {
		w := d.ask(method, path, body)
		if w.Code != status {
			b.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
		return w.Body.String()
	}
	b.Run("create", func(b *testing.B) {
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				must(http.StatusCreated, "POST", "/Users", fmt.Sprintf(`{"userName":"user-%d"}`, n.Add(1)))
			}
		})
	})
	name := fmt.Sprintf("user-%d", n.Load())
	found := must(http.StatusOK, "GET", "/Users?filter=userName%20eq%20%22"+name+"%22", "")
	_, rest, _ := strings.Cut(found, `"id":"`)
	id := rest[:36]
	b.Run("update", func(b *testing.B) {
		for b.Loop() {
			must(http.StatusOK, "PATCH", "/Users/"+id, fmt.Sprintf(`{"Operations":[{"op":"replace","path":"title","value":"%d"}]}`, n.Add(1)))
		}
	})
	b.Run("find by userName", func(b *testing.B) {
		for b.Loop() {
			must(http.StatusOK, "GET", "/Users?filter=userName%20eq%20%22"+name+"%22", "")
		}
	})
	b.Run("page of 100", func(b *testing.B) {
		for b.Loop() {
			must(http.StatusOK, "GET", "/Users?startIndex=1&count=100", "")
		}
		b.ReportMetric(float64(n.Load()), "users-at-most")
	})
	b.Run("search all", func(b *testing.B) {
		for b.Loop() {
			must(http.StatusOK, "GET", "/Users?filter=title%20pr&count=10", "")
		}
	})
}
