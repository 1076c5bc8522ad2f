package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

var testPod = podSettings{
	selector: map[string]string{"app": "router"}, clientImage: "agent:1", forwarderImage: "operator:1",
	secret: "setup-key-networkrouter-r", managementURL: "https://nb.example", logLevel: "info",
	forwarder: "networkrouter-r-forwarder", namespace: "netbird",
}

var baseEnvironment = []string{
	"NB_SETUP_KEY", "NB_MANAGEMENT_URL", "NB_LOG_LEVEL", "NB_LOG_FILE", "NB_DISABLE_PROFILES",
	"NB_DISABLE_UPDATE_SETTINGS", "NB_DAEMON_ADDR", "NB_ENTRYPOINT_SERVICE_TIMEOUT",
}

// mergedPod is the pod that an override (YAML) gives, as the API server gets it.
func mergedPod(t *testing.T, override string) corev1.PodSpec {
	t.Helper()
	base, err := basePodTemplate(testPod)
	must(t, err)
	if override != "" {
		encoded, err := yaml.YAMLToJSON([]byte(override))
		must(t, err)
		must(t, mergePodTemplate(base, encoded))
	}
	sent, err := json.Marshal(base)
	must(t, err)
	var template corev1.PodTemplateSpec
	must(t, json.Unmarshal(sent, &template))
	return template.Spec
}

// faults are what the API server refuses about the lists that overrides touch.
func faults(pod corev1.PodSpec) []string {
	var found []string
	names := map[string]bool{}
	for _, variable := range pod.Containers[0].Env {
		if variable.Value != "" && variable.ValueFrom != nil {
			found = append(found, "env "+variable.Name+" has value and valueFrom")
		}
		if names[variable.Name] {
			found = append(found, "env "+variable.Name+" twice")
		}
		names[variable.Name] = true
	}
	for _, mount := range pod.Containers[0].VolumeMounts {
		if mount.Name == "" {
			found = append(found, "mount "+mount.MountPath+" has no volume")
		}
		if volume := strings.HasPrefix(mount.MountPath, "/etc/resolv.conf"); volume != (mount.SubPath != "") {
			found = append(found, "mount "+mount.MountPath+" has subPath "+mount.SubPath)
		}
	}
	for _, volume := range pod.Volumes {
		encoded, _ := json.Marshal(volume.VolumeSource)
		var sources map[string]any
		_ = json.Unmarshal(encoded, &sources)
		if len(sources) != 1 {
			found = append(found, "volume "+volume.Name+" has "+strings.Join(slices.Sorted(keys(sources)), " and "))
		}
	}
	return found
}

func keys[V any](from map[string]V) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for key := range from {
			if !yield(key) {
				return
			}
		}
	}
}

func environment(pod corev1.PodSpec) []string {
	var names []string
	for _, variable := range pod.Containers[0].Env {
		names = append(names, variable.Name)
	}
	return names
}

func variable(t *testing.T, pod corev1.PodSpec, name string) corev1.EnvVar {
	t.Helper()
	for _, found := range pod.Containers[0].Env {
		if found.Name == name {
			return found
		}
	}
	t.Fatalf("no %s in %v", name, environment(pod))
	return corev1.EnvVar{}
}

func volumes(pod corev1.PodSpec) []string {
	var names []string
	for _, volume := range pod.Volumes {
		names = append(names, volume.Name)
	}
	return names
}

func TestBasePod(t *testing.T) {
	pod := mergedPod(t, "")
	if found := faults(pod); found != nil {
		t.Errorf("the base is refused: %v", found)
	}
	if got := environment(pod); !slices.Equal(got, baseEnvironment) {
		t.Errorf("environment %v", got)
	}
	if got := volumes(pod); !slices.Equal(got, []string{"netbird-run", "netbird-lib", "ssh-etc", "resolv-conf"}) {
		t.Errorf("volumes %v", got)
	}
	if len(pod.Containers) != 2 || pod.Containers[0].Name != "netbird" || pod.Containers[1].Name != "kube-egress-forwarder" {
		t.Errorf("containers %v", pod.Containers)
	}
	key := variable(t, pod, "NB_SETUP_KEY").ValueFrom.SecretKeyRef
	if key.Name != "setup-key-networkrouter-r" || key.Key != "setup-key" {
		t.Errorf("the setup key comes from %s of %s", key.Key, key.Name)
	}
	if pod.HostNetwork || pod.Containers[0].LivenessProbe != nil {
		t.Error("the base has hostNetwork or a liveness probe")
	}
	if pod.Containers[0].Image != "agent:1" || pod.InitContainers[0].Image != "agent:1" || pod.Containers[1].Image != "operator:1" {
		t.Error("images are wrong")
	}
	if pod.TopologySpreadConstraints[0].LabelSelector.MatchLabels["app"] != "router" {
		t.Errorf("the spread counts %v", pod.TopologySpreadConstraints[0].LabelSelector)
	}
}

func TestOverrideOfPlainFieldsIsSafe(t *testing.T) {
	pod := mergedPod(t, "spec: {hostNetwork: true, dnsPolicy: ClusterFirstWithHostNet, nodeSelector: {router: 'true'}}")
	if found := faults(pod); found != nil || !pod.HostNetwork || pod.NodeSelector["router"] != "true" {
		t.Errorf("faults %v, pod %v", found, pod)
	}
	if !slices.Equal(environment(pod), baseEnvironment) || len(pod.Volumes) != 4 || len(pod.Containers) != 2 {
		t.Error("the override changed more than it said")
	}
}

func TestDirectivesAndUnknownFieldsAreLost(t *testing.T) {
	pod := mergedPod(t, "spec: {$patch: replace, later: x, containers: [{name: kube-egress-forwarder, $patch: delete}]}")
	if len(pod.Containers) != 2 || len(pod.Volumes) != 4 || len(pod.InitContainers) != 1 {
		t.Errorf("a directive counted: %v", pod)
	}
}

func TestTrapsOfListsThatAreNotRepeated(t *testing.T) {
	cases := map[string]struct {
		override string
		want     []string
	}{
		"a new variable alone": {
			"spec: {containers: [{name: netbird, env: [{name: NB_NEW, value: x}]}]}",
			[]string{"env NB_NEW has value and valueFrom", "env NB_SETUP_KEY has value and valueFrom"},
		},
		"a new volume alone": {
			"spec: {volumes: [{name: state, hostPath: {path: /state}}]}",
			[]string{"volume state has emptyDir and hostPath"},
		},
		"a new mount alone": {
			"spec: {containers: [{name: netbird, volumeMounts: [{name: netbird-run, mountPath: /var/run/wireguard}]}]}",
			[]string{"mount /etc/ssh has subPath resolv.conf"},
		},
		"a mount of the base without its volume": {
			"spec: {containers: [{name: netbird, volumeMounts: [{mountPath: /var/run/netbird}]}]}",
			[]string{"mount /var/run/netbird has no volume"},
		},
		"another source for a volume of the base": {
			"spec: {volumes: [{name: netbird-lib, hostPath: {path: /state}}]}",
			[]string{"volume netbird-lib has emptyDir and hostPath"},
		},
	}
	for name, c := range cases {
		if got := faults(mergedPod(t, c.override)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

const safeOverride = `
spec:
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  volumes:
  - {name: netbird-run}
  - {name: netbird-lib}
  - {name: ssh-etc}
  - {name: resolv-conf}
  - {name: state, hostPath: {path: /var/lib/netbird-router, type: DirectoryOrCreate}}
  - {name: wireguard, hostPath: {path: /var/run/wireguard, type: DirectoryOrCreate}}
  containers:
  - name: netbird
    env:
    - {name: NB_SETUP_KEY, valueFrom: {secretKeyRef: {name: setup-key-own, key: setup-key}}}
    - {name: NB_MANAGEMENT_URL}
    - {name: NB_LOG_LEVEL}
    - {name: NB_LOG_FILE}
    - {name: NB_DISABLE_PROFILES}
    UPDATE_SETTINGS
    - {name: NB_DAEMON_ADDR}
    - {name: NB_ENTRYPOINT_SERVICE_TIMEOUT}
    - {name: NB_HOSTNAME, value: router}
    volumeMounts:
    - {name: netbird-run, mountPath: /var/run/netbird}
    - {name: state, mountPath: /var/lib/netbird}
    - {name: ssh-etc, mountPath: /etc/ssh}
    - {name: resolv-conf, mountPath: /etc/resolv.conf}
    - {name: resolv-conf, mountPath: /etc/resolv.conf.original.netbird}
    - {name: wireguard, mountPath: /var/run/wireguard}
    lifecycle: {preStop: {exec: {command: [bash, -c, ask]}}}
`

func TestOverrideThatRepeatsTheListsIsSafe(t *testing.T) {
	pod := mergedPod(t, strings.Replace(
		safeOverride, "UPDATE_SETTINGS", `- {name: NB_DISABLE_UPDATE_SETTINGS, value: "false"}`, 1,
	))
	if found := faults(pod); found != nil {
		t.Errorf("refused: %v", found)
	}
	if got, want := environment(pod), append(slices.Clone(baseEnvironment), "NB_HOSTNAME"); !slices.Equal(got, want) {
		t.Errorf("environment %v, want %v", got, want)
	}
	if key := variable(t, pod, "NB_SETUP_KEY").ValueFrom.SecretKeyRef.Name; key != "setup-key-own" {
		t.Errorf("the setup key comes from %s", key)
	}
	for name, want := range map[string]string{
		"NB_MANAGEMENT_URL": "https://nb.example", "NB_DISABLE_UPDATE_SETTINGS": "false", "NB_LOG_FILE": "console",
		"NB_DAEMON_ADDR": "unix:///var/run/netbird/netbird.sock", "NB_HOSTNAME": "router",
	} {
		if got := variable(t, pod, name).Value; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	mounts := map[string]string{}
	for _, mount := range pod.Containers[0].VolumeMounts {
		mounts[mount.MountPath] = mount.Name
	}
	if want := map[string]string{
		"/var/run/netbird": "netbird-run", "/var/lib/netbird": "state", "/etc/ssh": "ssh-etc", "/etc/resolv.conf": "resolv-conf",
		"/etc/resolv.conf.original.netbird": "resolv-conf", "/var/run/wireguard": "wireguard",
	}; !maps.Equal(mounts, want) {
		t.Errorf("mounts %v", mounts)
	}
	if hook := pod.Containers[0].Lifecycle; hook == nil || len(hook.PreStop.Exec.Command) != 3 || pod.Volumes[5].HostPath == nil {
		t.Errorf("the hook or the volume is not there: %v", hook)
	}
	if len(pod.Containers) != 2 || pod.Containers[1].Image != "operator:1" || pod.Volumes[4].HostPath == nil {
		t.Error("containers or volumes were damaged")
	}
}

// An override for releases without NB_DISABLE_UPDATE_SETTINGS stays valid here, but leaves the variable as it is.
func TestOverrideThatMissesOneVariable(t *testing.T) {
	pod := mergedPod(t, strings.Replace(safeOverride, "    UPDATE_SETTINGS\n", "", 1))
	t.Log(environment(pod))
	if found := faults(pod); found != nil {
		t.Errorf("refused: %v", found)
	}
	if got := variable(t, pod, "NB_DISABLE_UPDATE_SETTINGS").Value; got != "true" {
		t.Errorf("NB_DISABLE_UPDATE_SETTINGS is %q", got)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
