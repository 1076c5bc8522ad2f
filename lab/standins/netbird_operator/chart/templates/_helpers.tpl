{{- define "operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The release's name when it has the chart's in it, else both; as the real chart, so that names stay the same. */}}
{{- define "operator.fullname" -}}
{{- $name := include "operator.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "operator.selector" -}}
app.kubernetes.io/name: {{ include "operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "operator.labels" -}}
{{ include "operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- range $key, $value := .Values.general.labels }}
{{ $key }}: {{ $value | quote }}
{{- end }}
{{- end -}}

{{- define "operator.serviceAccount" -}}
{{- $standard := ternary (include "operator.fullname" .) "default" .Values.operator.serviceAccount.create -}}
{{- default $standard .Values.operator.serviceAccount.name -}}
{{- end -}}

{{- define "operator.image" -}}
{{- with .Values.operator.image -}}
{{ .registry }}/{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}

{{- define "operator.webhook" -}}
{{ include "operator.fullname" . }}-webhook-service
{{- end -}}

{{- define "operator.certificate" -}}
{{ include "operator.fullname" . }}-tls
{{- end -}}

{{/* What the webhook is served with, in base64: given, or that of before (only if keepTLSSecret, at the root of the values,
     says so), or one of an authority that is made now. */}}
{{- define "operator.certificates" -}}
{{- $given := .Values.webhook.tls -}}
{{- $before := lookup "v1" "Secret" .Release.Namespace (include "operator.certificate" .) -}}
{{- if and $given.caCert $given.cert $given.key -}}
ca: {{ b64enc $given.caCert }}
certificate: {{ b64enc $given.cert }}
key: {{ b64enc $given.key }}
{{- else if and .Values.keepTLSSecret $before -}}
ca: {{ index $before.data "ca.crt" }}
certificate: {{ index $before.data "tls.crt" }}
key: {{ index $before.data "tls.key" }}
{{- else -}}
{{- $host := printf "%s.%s" (include "operator.webhook" .) .Release.Namespace -}}
{{- $authority := genCA "netbird-operator-ca" 3650 -}}
{{- $names := list $host (printf "%s.svc" $host) (printf "%s.%s" $host .Values.cluster.dns) -}}
{{- $made := genSignedCert (include "operator.fullname" .) nil $names 3650 $authority -}}
ca: {{ b64enc $authority.Cert }}
certificate: {{ b64enc $made.Cert }}
key: {{ b64enc $made.Key }}
{{- end -}}
{{- end -}}

{{/* The rest of a probe, after the path. */}}
{{- define "operator.probe" -}}
{{ "  " }}port: {{ .port }}
initialDelaySeconds: {{ .initialDelaySeconds }}
periodSeconds: {{ .periodSeconds }}
successThreshold: {{ .successThreshold }}
timeoutSeconds: {{ .timeoutSeconds }}
failureThreshold: 3
{{- end -}}
