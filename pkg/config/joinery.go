package config

import (
	"fmt"
	"time"
)

// Joinery is joinery.yaml: what the services work with, whatever the sources
// and targets are. All of it has defaults.
type Joinery struct {
	Broker    Broker    `yaml:"broker" doc:"The NATS JetStream cluster that holds everything."`
	Limiter   Limiter   `yaml:"limiter" doc:"The Redis that shares each target's rate between replicas."`
	Telemetry Telemetry `yaml:"telemetry" doc:"Traces and logs."`
	Console   Console   `yaml:"console" doc:"The web console and its API."`
	Ingest    Ingest    `yaml:"ingest" doc:"The door for sources."`
	Alerts    Alerts    `yaml:"alerts" doc:"Where alerts are sent."`

	Precedence []Precedence `yaml:"precedence" max:"500" doc:"Whose word counts where several sources speak of one attribute. Without it, the newest."`
	Sensitive  []Class      `yaml:"sensitive" max:"100" doc:"Attributes of people that only those targets may have which name their class."`
}

// Broker is how the broker is reached and what is asked of it.
type Broker struct {
	URL         string `yaml:"url" doc:"Addresses of the NATS servers, separated by commas, as in nats://a:4222,nats://b:4222. Empty: the one that the command line names, or an embedded one."`
	Credentials Secret `yaml:"credentials" doc:"The NATS credentials file (JWT and seed)."`
	MonitorURL  string `yaml:"monitor_url" doc:"The monitoring endpoint of a server, as in http://nats:8222, where its sync_interval is checked."`
	Durability  string `yaml:"durability" enum:"always relaxed" default:"always" doc:"always: refuse a broker that acknowledges before it has written to disk. relaxed: accept one, for a laptop."`
	Replicas    int    `yaml:"replicas" default:"1" min:"1" max:"5" doc:"Copies of each stream and bucket: 1, 3 or 5."`
}

// Limiter is how Redis is reached.
type Limiter struct {
	Address  string `yaml:"address" doc:"Host and port of the Redis server. Empty: the one that the command line names, or an embedded one."`
	Password Secret `yaml:"password" doc:"The password of the Redis server."`
	Replicas int    `yaml:"replicas" default:"1" min:"1" max:"100" doc:"How many dispatchers share the rates: while Redis is away, each keeps to its share."`
}

// Telemetry is where traces go and how much is logged.
type Telemetry struct {
	OTLP     string `yaml:"otlp" doc:"OTLP/HTTP endpoint for traces, as in http://jaeger:4318. Empty: no traces are exported."`
	LogLevel string `yaml:"log_level" enum:"debug info warn error" default:"info" doc:"The least important lines to log."`
}

// Console is where the console is and who may use it.
type Console struct {
	Listen string `yaml:"listen" default:":8081" doc:"Address to listen on."`
	Token  Secret `yaml:"token" doc:"The bearer token that the console and its API ask for."`
}

// Ingest is where sources reach Joinery.
type Ingest struct {
	Listen string `yaml:"listen" default:":8080" doc:"Address to listen on."`
}

// Alerts is who is told when something needs a person.
type Alerts struct {
	Webhooks  []Webhook     `yaml:"webhooks" max:"16" doc:"Each alert is posted to each of these."`
	Objective time.Duration `yaml:"objective" default:"15m" min:"1m" max:"168h" doc:"How long an accepted event or a command may be without an outcome before people are told."`
}

// Webhook is one receiver of alerts.
type Webhook struct {
	URL    string `yaml:"url" doc:"Where to post."`
	From   Secret `yaml:"url_from" doc:"Where to post, for an address that is itself a secret."`
	Secret Secret `yaml:"secret" doc:"Signs the alerts (Standard Webhooks)."`
}

// check reports what the tags cannot say.
func (j *Joinery) check(d *decoder) {
	if j.Broker.URL != "" {
		d.brokers("broker.url", j.Broker.URL)
	}
	d.webAddress("broker.monitor_url", j.Broker.MonitorURL)
	if j.Broker.Replicas%2 == 0 && j.Broker.Replicas > 0 {
		d.wrong("broker.replicas", "%d replicas are no safer than %d: write 1, 3 or 5", j.Broker.Replicas, j.Broker.Replicas-1)
	}
	j.checkClasses(d)
	j.checkPrecedence(d)
	d.hostPort("limiter.address", j.Limiter.Address)
	d.webAddress("telemetry.otlp", j.Telemetry.OTLP)
	d.listenAddress("console.listen", j.Console.Listen)
	d.listenAddress("ingest.listen", j.Ingest.Listen)
	if j.Console.Listen != "" && j.Console.Listen == j.Ingest.Listen {
		d.wrong("ingest.listen", "console.listen is the same address")
	}
	for i, w := range j.Alerts.Webhooks {
		path := fmt.Sprintf("alerts.webhooks[%d]", i)
		if d.given(path+".url") == d.given(path+".url_from") {
			d.wrong(path, "a webhook has one address: url, or url_from for one that is a secret")
		}
		d.webAddress(path+".url", w.URL)
	}
}
