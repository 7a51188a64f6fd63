package scim_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/scim"
)

// twice tells, by reading tokens, whether an object of a JSON text has two names
// that are equal but for case. It knows nothing of how Parse does it.
func twice(data []byte) bool {
	d := json.NewDecoder(bytes.NewReader(data))
	var names [][]string // of the objects we are in; nil for a list
	var key []bool       // whether a name is next
	ended := func() {
		if n := len(key); n > 0 && names[n-1] != nil {
			key[n-1] = true
		}
	}
	for {
		token, err := d.Token()
		if err != nil {
			return false
		}
		if delim, is := token.(json.Delim); is {
			switch delim {
			case '{':
				names, key = append(names, []string{}), append(key, true)
			case '[':
				names, key = append(names, nil), append(key, false)
			default:
				names, key = names[:len(names)-1], key[:len(key)-1]
				ended()
			}
			continue
		}
		if n := len(key); n > 0 && key[n-1] {
			name := token.(string)
			if slices.ContainsFunc(names[n-1], func(other string) bool { return strings.EqualFold(other, name) }) {
				return true
			}
			names[n-1], key[n-1] = append(names[n-1], name), false
			continue
		}
		ended()
	}
}

func depth(v any) int {
	deepest := -1
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			deepest = max(deepest, depth(e))
		}
	case []any:
		for _, e := range v {
			deepest = max(deepest, depth(e))
		}
	}
	return deepest + 1
}

// What is read is what encoding/json reads, and nothing is read that two readers
// could understand differently; what is refused has one of the reasons.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"userName":"a","USERNAME":"b"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		var want any
		err := d.Decode(&want)
		if err == nil {
			if _, err = d.Token(); errors.Is(err, io.EOF) {
				err = nil
			} else {
				err = fmt.Errorf("data after the end: %w", err)
			}
		}
		object, isObject := want.(map[string]any)
		got, refused := scim.Parse(data)
		if refused == nil {
			if err != nil || !isObject || twice(data) {
				t.Fatalf("%q was read: %v", data, err)
			}
			if diff := cmp.Diff(scim.Resource(object), got); diff != "" {
				t.Fatal(diff)
			}
			return
		}
		if err == nil && isObject && !twice(data) && depth(want) <= 32 && bytes.Count(data, []byte(":")) <= 10000 {
			t.Fatalf("%q was refused: %v", data, refused)
		}
	})
}

// account is a user as the naive model has it.
type account struct {
	single map[string]string
	mails  [][2]string // type and value
}

// step is one operation, to the engine and to the model. A model that says no
// leaves the account as it is.
type step struct {
	op    scim.Operation
	model func(a account) (account, bool)
}

// steps are operations made of bytes: four for each.
func steps(data []byte) (out []step) {
	names, words, kinds := []string{"title", "nickName", "name.givenName"}, []string{"x", "y", "é"}, []string{"work", "home", "other"}
	for len(data) >= 4 && len(out) < 20 {
		name, word, kind := names[int(data[1])%3], words[int(data[2])%3], kinds[int(data[3])%3]
		out = append(out, stepOf(data[0]%7, name, word, kind))
		data = data[4:]
	}
	return out
}

func stepOf(what byte, name, word, kind string) step {
	mail, of := map[string]any{"type": kind, "value": word}, `emails[type eq "`+kind+`"]`
	with := func(mails [][2]string) func(a account) (account, bool) {
		return func(a account) (account, bool) { return account{a.single, mails}, true }
	}
	set := func(op string) step {
		return step{scim.Operation{Op: op, Path: name, Value: word}, func(a account) (account, bool) {
			a.single[name] = word
			return a, true
		}}
	}
	switch what {
	case 0:
		return set("add")
	case 1:
		return set("Replace")
	case 2:
		return step{scim.Operation{Op: "remove", Path: name}, func(a account) (account, bool) {
			delete(a.single, name)
			return a, true
		}}
	case 3:
		return step{scim.Operation{Op: "add", Path: "emails", Value: []any{mail}}, func(a account) (account, bool) {
			if !slices.Contains(a.mails, [2]string{kind, word}) {
				a.mails = append(slices.Clone(a.mails), [2]string{kind, word})
			}
			return a, true
		}}
	case 4:
		return step{scim.Operation{Op: "replace", Path: "emails", Value: []any{mail}}, with([][2]string{{kind, word}})}
	case 5:
		return step{scim.Operation{Op: "remove", Path: of}, func(a account) (account, bool) {
			a.mails = slices.DeleteFunc(slices.Clone(a.mails), func(m [2]string) bool { return m[0] == kind })
			return a, true
		}}
	}
	return step{scim.Operation{Op: "replace", Path: of + ".value", Value: word}, func(a account) (account, bool) {
		found, mails := false, slices.Clone(a.mails)
		for i := range mails {
			if mails[i][0] == kind {
				mails[i][1], found = word, true
			}
		}
		return account{a.single, mails}, found // RFC 7644 section 3.5.2.3: noTarget
	}}
}

func read(r scim.Resource) account {
	a := account{single: map[string]string{}}
	for _, name := range []string{"title", "nickName", "name.givenName"} {
		if v, ok := r.Get(name); ok {
			a.single[name] = fmt.Sprint(v)
		}
	}
	v, _ := r.Get("emails")
	list, _ := v.([]any)
	for _, e := range list {
		m, _ := e.(map[string]any)
		a.mails = append(a.mails, [2]string{fmt.Sprint(m["type"]), fmt.Sprint(m["value"])})
	}
	return a
}

// The engine does what a model does that knows no JSON, no paths and no filters.
func FuzzPatchModel(f *testing.F) {
	f.Add([]byte{3, 0, 0, 0, 6, 0, 1, 0, 5, 0, 0, 1, 2, 1, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		engine, model := scim.Resource{"userName": "a"}, account{single: map[string]string{}}
		for _, s := range steps(data) {
			after, err := engine.Apply([]scim.Operation{s.op})
			want, ok := s.model(model)
			if (err == nil) != ok {
				t.Fatalf("%+v on %v: %v", s.op, engine, err)
			}
			if !ok {
				if e := scim.As(err); e == nil || e.ScimType != scim.NoTarget {
					t.Fatalf("%+v: %v", s.op, err)
				}
				continue
			}
			engine, model = after, want
			if diff := cmp.Diff(model, read(engine), cmp.AllowUnexported(account{}), cmp.Transformer("empty", func(in [][2]string) [][2]string {
				return append([][2]string{}, in...)
			})); diff != "" {
				t.Fatalf("%+v: %s", s.op, diff)
			}
		}
	})
}

// A bulk answer is read or refused, and every operation has a result.
func FuzzPairBulk(f *testing.F) {
	f.Add([]byte(`{"Operations":[{"bulkId":"a","method":"POST","status":"201","location":"https://x/Users/1"},{"method":"PATCH","status":{"code":200}}]}`))
	ops := []scim.BulkCall{
		{Method: "POST", ID: "a", Path: "/Users", Data: map[string]any{}}, {Method: "PATCH", ID: "b", Path: "/Users/2", Data: map[string]any{}},
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		results, err := scim.PairBulk(ops, data)
		if err != nil {
			return
		}
		if len(results) != len(ops) {
			t.Fatalf("%d results", len(results))
		}
		for i, r := range results {
			if r.Reported && (r.Status < 100 || r.Status > 599) || !r.Reported && r.Status != 0 {
				t.Fatalf("operation %d: %+v", i, r)
			}
		}
	})
}
