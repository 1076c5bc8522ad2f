package main

import (
	_ "embed"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	applymeta "k8s.io/client-go/applyconfigurations/meta/v1"
	"sigs.k8s.io/yaml"
)

//go:embed router_pod.yaml
var routerPod []byte

type podTemplate = applycore.PodTemplateSpecApplyConfiguration

// podSettings is what differs between the pods of routers.
type podSettings struct {
	selector       map[string]string
	clientImage    string
	forwarderImage string
	secret         string
	managementURL  string
	logLevel       string
	forwarder      string
	namespace      string
}

// basePodTemplate is the pod template before any override.
func basePodTemplate(given podSettings) (*podTemplate, error) {
	base := &podTemplate{}
	if err := yaml.UnmarshalStrict(routerPod, base); err != nil {
		return nil, fmt.Errorf("router_pod.yaml: %w", err)
	}
	base.WithLabels(given.selector)
	base.Spec.TopologySpreadConstraints[0].WithLabelSelector(applymeta.LabelSelector().WithMatchLabels(given.selector))
	base.Spec.InitContainers[0].WithImage(given.clientImage)
	base.Spec.WithServiceAccountName(given.forwarder)

	agent := &base.Spec.Containers[0]
	agent.WithImage(given.clientImage)
	for i := range agent.Env {
		switch variable := &agent.Env[i]; *variable.Name {
		case "NB_SETUP_KEY":
			variable.ValueFrom.SecretKeyRef.WithName(given.secret)
		case "NB_MANAGEMENT_URL":
			variable.WithValue(given.managementURL)
		case "NB_LOG_LEVEL":
			variable.WithValue(given.logLevel)
		}
	}
	base.Spec.Containers[1].WithImage(given.forwarderImage).WithArgs(
		"kube-egress-forwarder", "--configmap-name", given.forwarder, "--configmap-namespace", given.namespace,
	)
	return base, nil
}

// mergePodTemplate merges an override into the base and decodes the result into the base, as the operator does.
//
// The second half is the trap. Lists are decoded into the slices that are filled already: item by item, and fields that the
// merged item does not have keep the value that the base had at this place. Once the merge has moved items (new ones come
// first, unless the override repeats the old ones before them), fields of one item are in another: an environment variable
// with value and valueFrom, a volume with emptyDir and hostPath. The API server refuses those. An override that repeats the
// items that are there, in their order, and then adds its own is safe.
//
// The operator's own kind has the override as a pod template, so what that has no field for is lost before the merge: a
// directive such as $patch, or a field of a later Kubernetes.
func mergePodTemplate(base *podTemplate, override json.RawMessage) error {
	original, err := json.Marshal(base)
	if err != nil {
		return err
	}
	var known corev1.PodTemplateSpec
	if err := json.Unmarshal(override, &known); err != nil {
		return fmt.Errorf("podTemplate: %w", err)
	}
	patch, err := json.Marshal(known)
	if err != nil {
		return err
	}
	merged, err := strategicpatch.StrategicMergePatch(original, patch, corev1.PodTemplateSpec{})
	if err != nil {
		return fmt.Errorf("podTemplate: %w", err)
	}
	return json.Unmarshal(merged, base)
}
