package main

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	admissionv1 "k8s.io/api/admission/v1"
)

func profile(labels map[string]string) *sidecarProfile {
	made := &sidecarProfile{ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "p"}}
	if labels != nil {
		made.Spec.PodSelector = &metav1.LabelSelector{MatchLabels: labels}
	}
	return made
}

func TestPodWebhook(t *testing.T) {
	known, err := newScheme()
	must(t, err)
	const plain, labelled = `{}`, `{"metadata":{"labels":{"app":"a"}}}`
	const refused = "SidecarProfile p: the lab's stand-in for NetBird's operator has no sidecars"
	for name, one := range map[string]struct {
		namespace, pod, message string
		there                   []client.Object
	}{
		"no profile":             {namespace: "web", pod: plain},
		"another namespace's":    {namespace: "other", pod: plain, there: []client.Object{profile(nil)}},
		"a profile for all":      {namespace: "web", pod: plain, message: refused, there: []client.Object{profile(nil)}},
		"a profile for this":     {"web", labelled, refused, []client.Object{profile(map[string]string{"app": "a"})}},
		"a profile for others":   {namespace: "web", pod: labelled, there: []client.Object{profile(map[string]string{"app": "b"})}},
		"the way of old, no key": {"web", `{"metadata":{"annotations":{"netbird.io/setup-key":"k"}}}`, `"k" not found`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			reader := fake.NewClientBuilder().WithScheme(known).WithObjects(one.there...).Build()
			checkPod(t, reader, one.namespace, one.pod, one.message)
		})
	}
}

// The answer is a refusal: the API server's failure policy has no say in it.
func TestPodWebhookRefusesEveryPodWithoutTheKind(t *testing.T) {
	without := fake.NewClientBuilder().WithScheme(runtime.NewScheme()).Build()
	response := (&podWebhook{without}).Handle(t.Context(), review("web", `{}`))
	if response.Allowed {
		t.Error("allowed")
	}
}

func review(namespace, pod string) admission.Request {
	return admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Namespace: namespace, Object: runtime.RawExtension{Raw: []byte(pod)},
	}}
}

func checkPod(t *testing.T, reader client.Reader, namespace, pod, message string) {
	t.Helper()
	response := (&podWebhook{reader}).Handle(t.Context(), review(namespace, pod))
	got := ""
	if response.Result != nil {
		got = response.Result.Message
	}
	// The reader in memory makes plurals of its own.
	if response.Allowed != (message == "") || !strings.HasSuffix(got, message) || len(response.Patches) > 0 {
		t.Errorf("allowed %v, %q, patches %v", response.Allowed, got, response.Patches)
	}
}
