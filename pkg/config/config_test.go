package config

import (
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/joinery/joinery/pkg/mapping"
	"github.com/joinery/joinery/pkg/profile"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "write what Load says into testdata/wrong.txtar")

// folder writes the files of an archive into a new folder.
func folder(t testing.TB, archive *txtar.Archive) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range archive.Files {
		name := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// files is a folder of names and contents.
func files(t testing.TB, content map[string]string) string {
	t.Helper()
	archive := &txtar.Archive{}
	for name, data := range content {
		archive.Files = append(archive.Files, txtar.File{Name: name, Data: []byte(data)})
	}
	return folder(t, archive)
}

func archive(t testing.TB, name string) *txtar.Archive {
	t.Helper()
	a, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func environment(name string) (string, bool) {
	value, ok := map[string]string{
		"HR_SECRET": "hr-secret", "REDIS_PASSWORD": "redis-password", "CONSOLE_TOKEN": "console-token",
		"ALERT_SECRET": "alert-secret", "ALERT_URL": "https://alerts.example/hidden", "EMPTY": "",
	}[name]
	return value, ok
}

func loaded(t testing.TB, dir string) *Folder {
	t.Helper()
	f, err := Load(dir, environment)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// plainly compares settings without what was compiled from them.
var plainly = cmp.Options{
	cmpopts.IgnoreUnexported(Secret{}),
	cmpopts.IgnoreFields(Source{}, "Rules", "Feeds"), // feeds have tests of their own
	cmpopts.IgnoreFields(Target{}, "Mapping", "Version"),
}

const userName = "users: [{ to: userName, from: identity.email }]\n"

func TestWrongFolderListsEverythingWrong(t *testing.T) {
	a := archive(t, "testdata/wrong.txtar")
	last := len(a.Files) - 1
	if a.Files[last].Name != "problems" {
		t.Fatal("the archive does not end with the problems")
	}
	want := string(a.Files[last].Data)
	dir := folder(t, &txtar.Archive{Files: a.Files[:last]})
	f, err := Load(dir, environment)
	if f != nil || err == nil {
		t.Fatalf("accepted: %v", f)
	}
	got := err.Error() + "\n"
	if *update {
		a.Files[last].Data = []byte(got)
		if err := os.WriteFile("testdata/wrong.txtar", txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" && !*update {
		t.Fatal(diff)
	}
	if strings.Contains(got, "hunter2") || strings.Contains(got, "password@") || strings.Contains(got, dir) {
		t.Fatal("a problem repeats a secret, or shows where the folder is")
	}
}

func TestExampleFolderIsReadWhole(t *testing.T) {
	dir := folder(t, archive(t, "testdata/example.txtar"))
	f := loaded(t, dir)
	secret := Secret{Env: "HR_SECRET"}
	no := false
	most := Limit{Max: 50, Percent: 10, Per: time.Hour}
	limits := Guard{Deprovision: most, Membership: Limit{Max: 50, Percent: 10, Per: time.Hour}, Rename: most}
	daily := Reconcile{Every: 24 * time.Hour, Mode: "remediate", Unknown: "report"}
	retry := Retry{Attempts: 12, Backoff: time.Second, BackoffCap: 15 * time.Minute, Throttle: 30 * time.Second, Settle: 5 * time.Second, Timeout: 30 * time.Second}
	patient := retry
	patient.Attempts, patient.Backoff, patient.Timeout = 3, 250*time.Millisecond, 90*time.Second

	wantJoinery := Joinery{
		Broker: Broker{
			URL: "nats://nats-1:4222,nats://nats-2:4222", Credentials: Secret{File: filepath.Join(dir, "secrets/joinery.creds")},
			MonitorURL: "http://nats-1:8222", Durability: "always", Replicas: 3,
		},
		Limiter:   Limiter{Address: "redis:6379", Password: Secret{Env: "REDIS_PASSWORD"}, Replicas: 1},
		Telemetry: Telemetry{OTLP: "http://jaeger:4318", LogLevel: "debug"},
		Console:   Console{Listen: "127.0.0.1:8081", Token: Secret{Env: "CONSOLE_TOKEN"}},
		Ingest:    Ingest{Listen: ":8080"},
		Alerts: Alerts{Webhooks: []Webhook{
			{URL: "https://alerts.example/joinery", Secret: Secret{Env: "ALERT_SECRET"}}, {From: Secret{Env: "ALERT_URL"}},
		}, Objective: 15 * time.Minute},
	}
	if diff := cmp.Diff(wantJoinery, f.Joinery, plainly); diff != "" {
		t.Error(diff)
	}
	wantSources := map[string]Source{
		"hr": {
			Name: "hr", IdentityKey: "event.data.employee_id",
			Auth: SourceAuth{HMAC: &HMAC{Header: "X-Signature", Secret: secret, Encoding: "hex"}},
		},
		"payroll": {
			Name: "payroll", Auth: SourceAuth{Basic: &Basic{Username: "joinery", Password: secret}},
			IdentityKey: "coalesce(event.data.id,\n  event.subject)\n",
			Kind:        `event.data.action == "hire" ? "joined" : "changed"`, Attributes: "{'email': event.data.mail}",
		},
		"agent": {Name: "agent", Auth: SourceAuth{Bearer: &secret}, IdentityKey: "event.subject"},
	}
	for name, s := range wantSources {
		s.Correlate.Unmatched = "case"
		wantSources[name] = s
	}
	if diff := cmp.Diff(wantSources, f.Sources, plainly); diff != "" {
		t.Error(diff)
	}
	wantTargets := map[string]Target{
		"acme": {
			Name: "acme", Profile: "scim2", Endpoint: "https://acme.example/scim/v2",
			Auth:        TargetAuth{Bearer: &Secret{File: filepath.Join(dir, "secrets/acme")}},
			Rate:        []Rate{{50, time.Second}, {5000, time.Hour}},
			Concurrency: 8, OffPeak: OffPeak{Zone: "UTC"}, Mode: "live", Rollout: Rollout{100},
			Assign: `identity.active && identity.department in ["Engineering", "Support"]`,
			Match:  []string{"externalId", "userName", "emails.value"}, Adopt: "exact",
			Deprovision: Deprovision{Action: "disable", DeleteAfter: 720 * time.Hour}, Guard: limits,
			Users: []Rule{
				{To: "userName", From: "identity.email.lowerAscii()"},
				{To: "externalId", From: "identity.key"},
				{To: "name.givenName", From: "identity.first_name"},
				{To: `emails[type eq "work"].value`, From: "identity.email"},
				{To: "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department", From: "identity.department"},
				{To: "manager", From: "identity.manager", Ref: "identity"},
			},
			Groups:    []GroupRule{{DisplayName: `"eng-" + group.name`, When: `group.kind == "team"`}},
			Reconcile: daily, Retry: retry,
			Tests: []Test{
				{Given: map[string]any{"email": "Ann@Example.com"}, Want: map[string]any{"userName": "ann@example.com"}},
				{Given: map[string]any{"department": "Sales", "level": 5.0}, Assigned: &no},
			},
			Quirks: map[string]any{"update.style": "put", "page.style": "none"}, Knobs: profile.Knobs{Update: "put", PageStyle: "none"},
		},
		"globex": {
			Name: "globex", Profile: "scim2", Endpoint: "http://localhost:9000", AllowPrivate: true,
			Auth: TargetAuth{OAuth2: &OAuth2{
				TokenURL: "https://login.globex.example/token", ClientID: "joinery", ClientSecret: &secret, Scopes: []string{"scim.write"},
			}},
			Rate: []Rate{{10, time.Second}}, Concurrency: 8, OffPeak: OffPeak{Zone: "UTC"}, Mode: "live", Rollout: Rollout{100}, Assign: "true",
			Match: []string{"externalId", "userName"}, Adopt: "exact",
			Deprovision: Deprovision{Action: "disable", DeleteAfter: 720 * time.Hour}, Guard: limits,
			Users:     []Rule{{To: "userName", From: "identity.email"}, {To: "active", From: "true"}},
			Reconcile: daily, Retry: patient,
		},
		"initech": {
			Name: "initech", Profile: "scim2", Endpoint: "https://initech.example/scim",
			Auth: TargetAuth{Header: &Header{Name: "X-Api-Key", Value: secret}},
			Rate: []Rate{{10, time.Second}}, Concurrency: 8, OffPeak: OffPeak{Zone: "UTC"}, Mode: "live", Rollout: Rollout{100}, Assign: "identity.active",
			Match: []string{"externalId", "userName"}, Adopt: "exact", Deprovision: Deprovision{Action: "disable"}, Guard: limits,
			Users: []Rule{{To: "userName", From: "identity.email"}}, Reconcile: daily, Retry: retry,
		},
	}
	if diff := cmp.Diff(wantTargets, f.Targets, plainly); diff != "" {
		t.Error(diff)
	}
	if failed := f.RunTests(); len(failed) > 0 {
		t.Errorf("the examples fail: %v", failed)
	}
}

func TestCompiledRulesWork(t *testing.T) {
	f := loaded(t, folder(t, archive(t, "testdata/example.txtar")))
	event := map[string]any{"subject": "E1", "data": map[string]any{"action": "hire", "mail": "a@b.c"}}
	if key, err := f.Sources["payroll"].Rules.Key(event); key != "E1" || err != nil {
		t.Errorf("key %q, %v", key, err)
	}
	got, err := f.Targets["initech"].Mapping.Desired(mapping.Person{Active: true, Attributes: map[string]any{"email": "a@b.c"}})
	if err != nil || got.Resource.UserName() != "a@b.c" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestEmptyFolderHasDefaults(t *testing.T) {
	f := loaded(t, t.TempDir())
	want := Joinery{
		Limiter: Limiter{Replicas: 1}, Broker: Broker{Durability: "always", Replicas: 1}, Telemetry: Telemetry{LogLevel: "info"},
		Console: Console{Listen: ":8081"}, Ingest: Ingest{Listen: ":8080"},
		Alerts: Alerts{Objective: 15 * time.Minute},
	}
	if diff := cmp.Diff(want, f.Joinery, plainly); diff != "" {
		t.Error(diff)
	}
	if len(f.Sources)+len(f.Targets) > 0 {
		t.Errorf("out of nothing: %v", f)
	}
}

func TestEmptyFilesAreLikeAbsentOnes(t *testing.T) {
	for _, content := range []string{"", "\n", "# nothing\n", "---\n", "{}", "null", "broker:\n", "broker: {}\nlimiter: ~\n"} {
		f, err := Load(files(t, map[string]string{"joinery.yaml": content}), environment)
		if err != nil || f.Joinery.Broker.Durability != "always" {
			t.Errorf("%q: %v", content, err)
		}
	}
}

func TestFolderThatIsNotThereIsAnError(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "nowhere"), environment)
	if err == nil || !strings.HasPrefix(err.Error(), "read the configuration folder: ") {
		t.Fatal(err)
	}
}

func TestUnreadablePartsAreProblems(t *testing.T) {
	dir := files(t, map[string]string{
		"sources": "", "targets/big.yaml": strings.Repeat("#", MaxFile+1), "targets/binary.yaml": "\xff\xfe",
		"targets/dir.yaml/x": "", "targets/many.yaml": strings.Repeat("- ", maxTokens+1),
	})
	if err := os.Symlink(filepath.Join(dir, "gone"), filepath.Join(dir, "targets/link.yaml")); err != nil {
		t.Fatal(err)
	}
	_, err := Load(dir, environment)
	want := strings.Join([]string{
		"sources: this is not a folder that can be read",
		"targets/big.yaml: the file is larger than 256 KiB",
		"targets/binary.yaml: the file is not UTF-8 text",
		"targets/dir.yaml: this is not a file",
		"targets/link.yaml: the file cannot be read: no such file or directory",
		"targets/many.yaml: not valid YAML: the file has too many parts",
	}, "\n")
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Fatal(diff)
	}
}

func TestTooManyFilesAreRefused(t *testing.T) {
	content := map[string]string{}
	for i := range maxFiles + 1 {
		content[fmt.Sprintf("sources/s%d.yaml", i)] = "x"
	}
	_, err := Load(files(t, content), environment)
	if err == nil || !strings.HasPrefix(err.Error(), "sources: there are more than 500 files\n") {
		t.Fatalf("%.200v", err)
	}
}

func TestDeepOrRepetitiveYAMLIsRefusedQuickly(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 9; i++ {
		fmt.Fprintf(&bomb, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), ", "))
	}
	for claim, c := range map[string]struct{ quirks, want string }{
		"deep": {strings.Repeat("[", 60) + strings.Repeat("]", 60), "nested deeper than 32 levels"},
		"bomb": {"{ " + strings.ReplaceAll(strings.TrimSpace(bomb.String()), "\n", ", ") + " }", "more than 50000 values once its aliases are followed"},
		"self": {"&a { b: *a }", "no value above is marked &a"},
	} {
		content := "target: x\nendpoint: https://x.example\nauth: { bearer: { env: HR_SECRET } }\nassign: true\n" + userName + "quirks: " + c.quirks + "\n"
		begun := time.Now()
		_, err := Load(files(t, map[string]string{"targets/x.yaml": content}), environment)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %.300v", claim, err)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("%s took %v", claim, took)
		}
	}
}

func TestAliasesRepeatAValue(t *testing.T) {
	f := loaded(t, files(t, map[string]string{"targets/x.yaml": `
target: x
endpoint: https://x.example
auth: { bearer: &secret { env: HR_SECRET } }
assign: true
users: [{ to: userName, from: &mail identity.email }, { to: title, from: *mail }]
`}))
	if got := f.Targets["x"].Users[1].From; got != "identity.email" {
		t.Fatalf("from is %q", got)
	}
}

func TestFailingTestsHaveTheirPlace(t *testing.T) {
	f := loaded(t, files(t, map[string]string{"targets/x.yaml": `target: x
endpoint: https://x.example
auth: { bearer: { env: HR_SECRET } }
assign: identity.active
users: [{ to: userName, from: identity.email }]
tests:
  - given: { email: a@b.c }
    want:
      userName: x@b.c
  - { given: { active: false }, assigned: true }
`}))
	want := Problems{
		{"targets/x.yaml", 9, 17, `tests[0].want.userName: want "x@b.c", got "a@b.c"`},
		{"targets/x.yaml", 10, 43, `tests[1].assigned: want true, got false`},
	}
	if diff := cmp.Diff(want, f.RunTests()); diff != "" {
		t.Fatal(diff)
	}
}

func TestProblemIsShownAtItsPlaceInAnExpression(t *testing.T) {
	const head = "target: x\nendpoint: https://x.example\nauth: { bearer: { env: HR_SECRET } }\n" + userName
	for claim, c := range map[string]struct {
		assign string
		want   string
	}{
		"plain":          {"assign: identity.active && nobody", "5:28"},
		"double quotes":  {`assign: "identity.active && nobody"`, "5:29"},
		"single quotes":  {"assign: 'identity.active && nobody'", "5:29"},
		"block":          {"assign: |\n    identity.active\n      && nobody", "7:10"},
		"folded":         {"assign: >\n    identity.active\n    && nobody", "5:9"},
		"escaped":        {`assign: "\u0069dentity.active && nobody"`, "5:9"},
		"several lines":  {"assign: identity.active\n  && nobody", "5:9"},
		"after a letter": {"assign: identity.x == 'é' && nobody", "5:30"},
	} {
		_, err := Load(files(t, map[string]string{"targets/x.yaml": head + c.assign + "\n"}), environment)
		want := "targets/x.yaml:" + c.want + `: nothing is called "nobody" here (an attribute is read as identity.nobody, a text stands in quotes)`
		if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
			t.Errorf("%s: %s", claim, diff)
		}
	}
}

func TestDefaultsAreValid(t *testing.T) {
	d := &decoder{places: map[string]*node{}}
	for _, into := range []any{&Joinery{}, &Source{}, &Target{}, &HMAC{}, &Basic{}, &OAuth2{}, &PrivateKeyJWT{}, &MTLS{}, &Header{}, &Rate{}, &Rule{}, &GroupRule{}, &Test{}, &Webhook{}} {
		d.read(&node{kind: table}, into)
	}
	for _, p := range d.problems {
		if !strings.HasSuffix(p.Message, " is missing") {
			t.Error(p)
		}
	}
}

func TestDurationsAreReadAndWritten(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"500ms": 500 * time.Millisecond, "1h30m": 90 * time.Minute, "30d": 720 * time.Hour, "0s": 0, "0d": 0,
	} {
		if got, ok := durationOf(text); !ok || got != want {
			t.Errorf("%q is %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "5", "d", "1.5d", "-1d", "99999d", "5 minutes", "1y"} {
		if got, ok := durationOf(text); ok {
			t.Errorf("%q is %v", text, got)
		}
	}
	for length, want := range map[time.Duration]string{time.Hour: "1h", 90 * time.Second: "1m30s", 10 * time.Minute: "10m", 0: "0s", 100 * time.Minute: "1h40m"} {
		if got := shortest(length); got != want {
			t.Errorf("%v is written %q", length, got)
		}
	}
}

func TestVersionsChangeWithTheirFilesOnly(t *testing.T) {
	a := archive(t, "testdata/example.txtar")
	first, again := loaded(t, folder(t, a)), loaded(t, folder(t, a))
	for i, f := range a.Files {
		if f.Name == "targets/acme.yaml" {
			a.Files[i].Data = []byte(strings.Replace(string(f.Data), "concurrency: 8", "concurrency: 9", 1))
		}
	}
	changed := loaded(t, folder(t, a))
	if first.Digest != again.Digest || first.Digest == changed.Digest {
		t.Error("the digest does not follow the files")
	}
	if first.Targets["acme"].Version == changed.Targets["acme"].Version || first.Targets["globex"].Version != changed.Targets["globex"].Version {
		t.Error("a target's version does not follow its file")
	}
	if first.Targets["acme"].Mapping.Version != changed.Targets["acme"].Mapping.Version {
		t.Error("the mapping's version follows more than the rules")
	}
}

func TestSecretIsReadAnewEachTime(t *testing.T) {
	dir := files(t, map[string]string{"token": "first\r\n", "empty": "\n", "large": strings.Repeat("x", maxSecret+1)})
	s := Secret{File: filepath.Join(dir, "token")}
	if got, err := s.Read(); got != "first" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	if err := os.WriteFile(s.File, []byte("second"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Read(); got != "second" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	t.Setenv("JOINERY_TEST_SECRET", "third\n")
	if got, err := (Secret{Env: "JOINERY_TEST_SECRET"}).Read(); got != "third" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	for _, wrong := range []Secret{
		{},
		{Env: "JOINERY_NO_SUCH_SECRET"},
		{File: filepath.Join(dir, "gone")},
		{File: filepath.Join(dir, "empty")},
		{File: filepath.Join(dir, "large")},
		{File: dir},
		{Env: "EMPTY", lookup: environment},
	} {
		if got, err := wrong.Read(); got != "" || err == nil || !strings.HasPrefix(err.Error(), "no secret: ") {
			t.Errorf("%v: %q, %v", wrong, got, err)
		}
	}
}

func TestSecretShowsItsReferenceHoweverItIsPrinted(t *testing.T) {
	dir := files(t, map[string]string{"token": "canary"})
	t.Setenv("JOINERY_TEST_SECRET", "canary")
	for s, want := range map[*Secret]string{
		{Env: "JOINERY_TEST_SECRET"}:        "secret(env JOINERY_TEST_SECRET)",
		{File: filepath.Join(dir, "token")}: "secret(file " + filepath.Join(dir, "token") + ")",
		{}:                                  "secret(none)",
	} {
		var log strings.Builder
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", *s, "inside", struct{ S Secret }{*s})
		data, err := json.Marshal(map[string]any{"s": *s, "p": s})
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{
			fmt.Sprint(*s), fmt.Sprintf("%v %+v %#v %s %q", *s, *s, *s, *s, *s), fmt.Sprintf("%v %+v", struct{ S Secret }{*s}, []Secret{*s}),
			log.String(), string(data),
		} {
			if strings.Contains(text, "canary") {
				t.Errorf("the secret is shown: %s", text)
			}
		}
		if got := fmt.Sprintf("%v", *s); got != want || fmt.Sprintf("%#v", *s) != want {
			t.Errorf("shown as %s, want %s", got, want)
		}
		if s.IsSet() != (want != "secret(none)") {
			t.Errorf("%s is set: %v", want, s.IsSet())
		}
	}
}

func TestAddressesAreChecked(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST.": true, "a.localhost": true, "127.0.0.1": true, "10.1.2.3": true, "192.168.0.1": true,
		"169.254.169.254": true, "::1": true, "fd00::1": true, "::ffff:10.0.0.1": true, "0.0.0.0": true, "fe80::1%eth0": true,
		"acme.example": false, "93.184.216.34": false, "2606:2800::1": false, "localhost.example": false,
	} {
		if got := private(host); got != want {
			t.Errorf("private(%q) = %v", host, got)
		}
	}
	for text, ok := range map[string]bool{
		"https://x.example": true, "http://x.example:8080/a/b": true, "https://[2606:2800::1]:443/": true,
		"": false, "x.example": false, "ftp://x.example": false, "https://": false, "https://u@x.example": false,
		"https://x.example#a": false, "https://x.example:0x1": false, "https://x.example:70000": false, "http://a b": false, "/x": false,
	} {
		if _, why := webURL(text); (why == "") != ok {
			t.Errorf("webURL(%q): %q", text, why)
		}
	}
}
