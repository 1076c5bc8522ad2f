package main

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The custom resources. Their schemas are chart/crds/; the fields here are those that are read or written.

var (
	groupVersion  = schema.GroupVersion{Group: "netbird.io", Version: "v1alpha1"}
	legacyVersion = schema.GroupVersion{Group: "netbird.io", Version: "v1"}
)

const (
	readyCondition   = "Ready"
	reconciledReason = "Reconciled"
	dependencyReason = "Dependency"
)

type nameReference struct {
	Name string `json:"name"`
}

// groupReference names a group in one of three ways: NetBird's name, NetBird's id, or a Group of the same namespace.
type groupReference struct {
	Name     string         `json:"name,omitempty"`
	ID       string         `json:"id,omitempty"`
	LocalRef *nameReference `json:"localRef,omitempty"`
}

// commonStatus is what every status has. An object that was never reconciled shows the generation -1 (the CRD's default).
type commonStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
}

func (s *commonStatus) common() *commonStatus { return s }

// resource is a custom resource with a status.
type resource interface {
	client.Object
	common() *commonStatus
}

type networkRouter struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              networkRouterSpec   `json:"spec"`
	Status            networkRouterStatus `json:"status,omitempty"`
}

type networkRouterSpec struct {
	DNSZoneRef       nameReference     `json:"dnsZoneRef"`
	Image            string            `json:"image,omitempty"`
	LogLevel         string            `json:"logLevel,omitempty"`
	WorkloadOverride *workloadOverride `json:"workloadOverride,omitempty"`
}

type workloadOverride struct {
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Replicas    *int32            `json:"replicas,omitempty"`
	PodTemplate json.RawMessage   `json:"podTemplate,omitempty"`
}

type networkRouterStatus struct {
	commonStatus  `json:",inline"`
	NetworkID     string `json:"networkID,omitempty"`
	RoutingPeerID string `json:"routingPeerID,omitempty"`
}

type group struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              groupSpec   `json:"spec"`
	Status            groupStatus `json:"status,omitempty"`
}

type groupSpec struct {
	Name string `json:"name"`
}

type groupStatus struct {
	commonStatus `json:",inline"`
	GroupID      string `json:"groupID,omitempty"`
}

type setupKey struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              setupKeySpec   `json:"spec"`
	Status            setupKeyStatus `json:"status,omitempty"`
}

type setupKeySpec struct {
	Name                string           `json:"name"`
	Ephemeral           bool             `json:"ephemeral"`
	AllowExtraDNSLabels bool             `json:"allowExtraDnsLabels"`
	Duration            *metav1.Duration `json:"duration,omitempty"`
	AutoGroups          []groupReference `json:"autoGroups,omitempty"`
}

type setupKeyStatus struct {
	commonStatus `json:",inline"`
	SetupKeyID   string `json:"setupKeyID,omitempty"`
}

type networkResource struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              networkResourceSpec   `json:"spec"`
	Status            networkResourceStatus `json:"status,omitempty"`
}

type networkResourceSpec struct {
	NetworkRouterRef struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"networkRouterRef"`
	ServiceRef nameReference    `json:"serviceRef"`
	Groups     []groupReference `json:"groups,omitempty"`
}

type networkResourceStatus struct {
	commonStatus `json:",inline"`
	NetworkID    string `json:"networkID,omitempty"`
	ResourceID   string `json:"resourceID,omitempty"`
	DNSZoneID    string `json:"dnsZoneID,omitempty"`
	DNSRecordID  string `json:"dnsRecordID,omitempty"`
}

// sidecarProfile says which pods get a sidecar; the webhook asks for no more.
type sidecarProfile struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              struct {
		PodSelector *metav1.LabelSelector `json:"podSelector,omitempty"`
	} `json:"spec"`
}

func (r *networkRouter) common() *commonStatus   { return r.Status.common() }
func (g *group) common() *commonStatus           { return g.Status.common() }
func (k *setupKey) common() *commonStatus        { return k.Status.common() }
func (r *networkResource) common() *commonStatus { return r.Status.common() }

func (r *networkRouter) DeepCopyObject() runtime.Object   { return deepCopy(r) }
func (g *group) DeepCopyObject() runtime.Object           { return deepCopy(g) }
func (k *setupKey) DeepCopyObject() runtime.Object        { return deepCopy(k) }
func (r *networkResource) DeepCopyObject() runtime.Object { return deepCopy(r) }
func (p *sidecarProfile) DeepCopyObject() runtime.Object  { return deepCopy(p) }

// list is the list of a kind.
type list[T any] struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []T `json:"items"`
}

func (l *list[T]) DeepCopyObject() runtime.Object { return deepCopy(l) }

// deepCopy goes by JSON: these objects are few and small, and nothing in them is lost that way.
func deepCopy[T any](object *T) *T {
	encoded, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	var copied T
	if err := json.Unmarshal(encoded, &copied); err != nil {
		panic(err)
	}
	return &copied
}

func addToScheme(known *runtime.Scheme) error {
	for kind, objects := range map[string][2]runtime.Object{
		"NetworkRouter":   {&networkRouter{}, &list[networkRouter]{}},
		"Group":           {&group{}, &list[group]{}},
		"SetupKey":        {&setupKey{}, &list[setupKey]{}},
		"NetworkResource": {&networkResource{}, &list[networkResource]{}},
		"SidecarProfile":  {&sidecarProfile{}, &list[sidecarProfile]{}},
	} {
		known.AddKnownTypeWithName(groupVersion.WithKind(kind), objects[0])
		known.AddKnownTypeWithName(groupVersion.WithKind(kind+"List"), objects[1])
	}
	metav1.AddToGroupVersion(known, groupVersion)
	return nil
}
