// Command netbird-operator is the lab's stand-in for NetBird's Kubernetes operator 0.8.0 (netbirdio/kubernetes-operator).
//
// Why it exists: the operator's image and chart come from a container registry, which the lab does not reach. Its
// behaviour is what the program has to cope with, so this follows the documented contract and the observable behaviour of
// release v0.8.0, traps included. NetBird itself is real: this talks to a real management server.
//
// What it stands in for (group netbird.io/v1alpha1):
//
//   - NetworkRouter: a NetBird network of the same name; a Group and a SetupKey called networkrouter-NAME whose NetBird
//     names are networkrouter-<network id>-<8 hex digits of the resource's uid>; a router object with that peer group,
//     masquerade on and metric 9999; and a Deployment networkrouter-NAME by forced server-side apply as field manager
//     netbird-operator. The setup key is ephemeral, so a peer that is off line for ten minutes is gone for good.
//
//   - workloadOverride.podTemplate is merged into the base and then decoded into the filled base. Fields of one list item
//     end up in another when an override does not repeat the items that are there; see pod_template.go.
//
//   - Group, SetupKey (Secret setup-key-NAME, key setup-key), NetworkResource (a ClusterIP Service as a /32 resource with a
//     DNS record).
//
//   - Ready means that the last reconcile got to its end. It does not go back to False when pods fail later.
//
//   - A finalizer on each of them deletes what it made in NetBird. A group that something still uses is refused there, and
//     tried again until nothing does. So is one that is not in NetBird any more: NetBird answers 400 to that and not 404,
//     and the Group hangs on its finalizer, as the operator's.
//
//   - A Group does not adopt a NetBird group of the same name: NetBird refuses the second one, as it does for the operator.
//
//   - The pod webhook sees every pod of the cluster but the operator's own, and by default no pod is made without its word;
//     it is served with the certificate that the chart makes.
//
//   - A DNS zone that does not exist shows in the log alone. A SetupKey that missed its Ready never gets it, and a changed one
//     has it of the generation before. A network, or a key, is made before the status names it, so a process that ends in
//     between, or a stale cache, makes a second one. Several of these the lab can ask for: see faults.go.
//
//   - All 12 kinds are in crds/, which Helm installs once and never updates. The process ends when one does not become known
//     within two minutes. It does not give its lease back at its end, so the next one waits for it for some 15 s.
//
// What it does not do: it watches NetworkEgress, ClusterProxy, SidecarProfile and the whole deprecated API v1 and does nothing
// for them, and their schemas take anything; a pod that a SidecarProfile selects is refused instead of given a sidecar;
// Gateway API; ingress with its webhook for NBGroup. Their chart values are accepted and without effect. The container
// kube-egress-forwarder of a router pod runs this program's subcommand of that name, which only waits: without NetworkEgress
// there is nothing to forward. The operator runs ghcr.io/netbirdio/kube-egress-forwarder there, by its digest.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	metrics "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

const (
	version = "0.8.0"
	// fieldManager owns what is applied; others may own other fields of the same objects.
	fieldManager = "netbird-operator"
)

func main() {
	run := operate
	arguments := os.Args[1:]
	if len(arguments) > 0 && arguments[0] == "kube-egress-forwarder" {
		run, arguments = forward, arguments[1:]
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, arguments); err != nil {
		fmt.Fprintf(os.Stderr, "netbird-operator: %v\n", err)
		os.Exit(1)
	}
}

// forward takes the egress forwarder's arguments and waits. It listens on no port.
func forward(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("kube-egress-forwarder", flag.ContinueOnError)
	name := flags.String("configmap-name", "", "ConfigMap with what to forward")
	namespace := flags.String("configmap-namespace", "", "its namespace")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	fmt.Printf("nothing to forward for %s/%s: the lab's stand-in has no NetworkEgress\n", *namespace, *name)
	<-ctx.Done()
	return nil
}

// settings are what the chart passes.
type settings struct {
	managementURL  string
	apiKey         string
	clientImage    string
	forwarderImage string
	certificates   string
	webhookPort    int
	probeAddress   string
	metricsAddress string
	namespace      string
	leaderElection bool
}

func parseSettings(arguments []string, environment func(string) string) (settings, error) {
	flags := flag.NewFlagSet("netbird-operator", flag.ContinueOnError)
	var read settings
	flags.StringVar(&read.apiKey, "netbird-api-key", "", "access token of NetBird's API")
	flags.StringVar(&read.certificates, "webhook-cert-path", "", "directory with tls.crt and tls.key of the webhook")
	flags.StringVar(&read.managementURL, "netbird-management-url", "https://api.netbird.io", "NetBird's management server")
	flags.StringVar(&read.clientImage, "netbird-client-image", "", "image of routers that name none")
	flags.StringVar(&read.forwarderImage, "egress-forwarder-image", "", "this program's own image (the stand-in's flag)")
	flags.IntVar(&read.webhookPort, "webhook-port", 9443, "port of the webhook (the stand-in's flag)")
	flags.StringVar(&read.probeAddress, "health-probe-bind-address", ":8081", "address for /healthz and /readyz")
	flags.StringVar(&read.metricsAddress, "metrics-bind-address", "0", "address for /metrics; 0 for none")
	flags.StringVar(&read.namespace, "runtime-namespace", environment("POD_NAMESPACE"), "namespace of the operator")
	flags.BoolVar(&read.leaderElection, "leader-elect", false, "let one of several replicas work")
	for _, name := range []string{"cluster-name", "cluster-dns", "default-labels"} {
		flags.String(name, "", "accepted, without effect")
	}
	for _, name := range []string{
		"namespaced-networks", "allow-automatic-policy-creation", "gateway-api-enabled", "enable-webhooks",
	} {
		flags.Bool(name, false, "accepted, without effect")
	}
	if err := flags.Parse(arguments); err != nil {
		return settings{}, err
	}
	var missing []string
	for name, value := range map[string]string{
		"--netbird-api-key":        read.apiKey,
		"--netbird-client-image":   read.clientImage,
		"--egress-forwarder-image": read.forwarderImage,
		"--webhook-cert-path":      read.certificates,
	} {
		if value == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return settings{}, errors.New("missing: " + strings.Join(missing, ", "))
	}
	return read, nil
}

func newScheme() (*runtime.Scheme, error) {
	known := runtime.NewScheme()
	return known, errors.Join(scheme.AddToScheme(known), addToScheme(known))
}

func operate(ctx context.Context, arguments []string) error {
	logs := logr.FromSlogHandler(slog.NewTextHandler(os.Stderr, nil))
	ctrl.SetLogger(logs)
	klog.SetLogger(logs)
	given, err := parseSettings(arguments, os.Getenv)
	if err != nil {
		return err
	}
	known, err := newScheme()
	if err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                  known,
		Metrics:                 metrics.Options{BindAddress: given.metricsAddress},
		HealthProbeBindAddress:  given.probeAddress,
		WebhookServer:           webhook.NewServer(webhook.Options{CertDir: given.certificates, Port: given.webhookPort}),
		LeaderElection:          given.leaderElection,
		LeaderElectionID:        "operator.netbird.io",
		LeaderElectionNamespace: given.namespace,
	})
	if err != nil {
		return err
	}
	if err := addControllers(manager, newNetbird(given.managementURL, given.apiKey), given); err != nil {
		return err
	}
	if err := errors.Join(
		manager.AddHealthzCheck("healthz", healthz.Ping), manager.AddReadyzCheck("readyz", manager.GetWebhookServer().StartedChecker()),
	); err != nil {
		return err
	}
	logs.Info("starting", "version", version, "managementURL", given.managementURL)
	return manager.Start(ctx)
}
