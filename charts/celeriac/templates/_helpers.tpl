{{- define "celeriac.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* Names every object of the release. 52 characters: room for the longest suffix. */ -}}
{{- define "celeriac.fullname" -}}
{{- $name := include "celeriac.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* ClusterRoles are shared by the whole cluster: two releases of one name in two namespaces must not collide. */ -}}
{{- define "celeriac.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "celeriac.fullname" .) -}}
{{- end -}}

{{- define "celeriac.selectorLabels" -}}
app.kubernetes.io/name: {{ include "celeriac.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "celeriac.labels" -}}
{{- $own := include "celeriac.selectorLabels" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/version" .Chart.AppVersion -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") -}}
{{- merge $own .Values.commonLabels | toYaml -}}
{{- end -}}

{{- /* `helm upgrade --reuse-values` brings the old chart's defaults and leaves this one's out: no field may go by that. */ -}}
{{- define "celeriac.refuseOldValues" -}}
{{- range tuple "platform" "tests" "podSecurityContext" "securityContext" "livenessProbe" "readinessProbe" -}}
{{- if not (kindIs "map" (get $.Values .)) -}}
{{- fail (printf "value %s is missing: these are values of an older chart. Upgrade with --reset-then-reuse-values in place of --reuse-values (docs/install.md)" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The pod of `helm test`: no Service, policy or budget of the operator's own may take it for an operator. */ -}}
{{- define "celeriac.testLabels" -}}
app.kubernetes.io/name: {{ include "celeriac.name" . | trunc 58 | trimSuffix "-" }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- /* What a ServiceMonitor and a PodMonitor say of their one endpoint. list ROOT MONITOR */ -}}
{{- define "celeriac.endpoint" -}}
{{- $root := index . 0 -}}
{{- $monitor := index . 1 -}}
port: metrics
path: /metrics
interval: {{ $monitor.interval }}
scrapeTimeout: {{ $monitor.scrapeTimeout }}
{{- if $root.Values.metrics.tls.secretName }}
scheme: https
{{- with $monitor.tlsConfig }}
tlsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
# The label namespace is the pool's, not the operator's.
honorLabels: true
{{- with $monitor.relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $monitor.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* metadata of an object of the release. root; name; labels, annotations: its own, beside those of all objects;
cluster: whether it has no namespace; namespace: another one than the release's; identity: selector labels of its own. */ -}}
{{- define "celeriac.metadata" -}}
{{- $root := .root -}}
{{- $metadata := dict "name" .name -}}
{{- if not .cluster -}}
{{- $_ := set $metadata "namespace" (default $root.Release.Namespace .namespace) -}}
{{- end -}}
{{- $_ := set $metadata "labels" (merge (default dict .identity) (include "celeriac.labels" $root | fromYaml) (default dict .labels)) -}}
{{- with merge (dict) (default dict .annotations) $root.Values.commonAnnotations -}}
{{- $_ := set $metadata "annotations" . -}}
{{- end -}}
metadata:
  {{- toYaml $metadata | nindent 2 }}
{{- end -}}

{{- define "celeriac.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "celeriac.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed when serviceAccount.create is false: the operator cannot work with the account \"default\"" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "celeriac.image" -}}
{{- $repository := required "image.repository is empty, and there is no image that every cluster could pull: build one (docs/install.md), push it where your nodes find it, and name it: --set image.repository=REGISTRY/celeriac" .Values.image.repository -}}
{{- with .Values.image.registry -}}
{{- $repository = printf "%s/%s" . $repository -}}
{{- end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* Those of the chart, and of `global` where this is a subchart; Kubernetes takes names, people write both. */ -}}
{{- define "celeriac.imagePullSecrets" -}}
{{- $secrets := list -}}
{{- range concat .Values.imagePullSecrets (default list (default dict .Values.global).imagePullSecrets) -}}
{{- $secrets = append $secrets (kindIs "string" . | ternary (dict "name" .) .) -}}
{{- end -}}
{{- with $secrets | uniq -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- /* Of the operator's flags those that values stand for, as a pattern. */ -}}
{{- define "celeriac.ownFlags" -}}
watch-namespace|namespace-selector|pool-selector|tick-seconds|allowed-broker|allow-broker-address|allow-unix-sockets|max-replicas|pod-security|allowed-registry|lease-namespace|lease-name|metrics-port|health-port|metrics-certificate|metrics-key|metrics-auth|task-names|exporter-names|log-level|log-format
{{- end -}}

{{- define "celeriac.refuseVariable" -}}
{{- $name := index . 1 -}}
{{- if or (eq $name "POD_NAME") (hasPrefix "CELERIAC_" $name) -}}
{{- fail (printf "%s%s: the chart sets it itself; use the value for it instead (see the chart's README)" (index . 0) $name) -}}
{{- end -}}
{{- end -}}

{{- define "celeriac.subjects" -}}
- kind: ServiceAccount
  name: {{ include "celeriac.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{- /* What the operator may do where it runs pools: nothing is deleted but agents out of use (the garbage collector does the rest), no Secret is listed. */ -}}
{{- define "celeriac.rules" -}}
- apiGroups: [celeriac.dev]
  resources: [celeryworkerpools]
  verbs: [get, list, watch]
- apiGroups: [celeriac.dev]
  resources: [celeryworkerpools/status]
  verbs: [patch]
{{- /* To own a Deployment with blockOwnerDeletion: asked by OwnerReferencesPermissionEnforcement, which OpenShift turns on. */}}
- apiGroups: [celeriac.dev]
  resources: [celeryworkerpools/finalizers]
  verbs: [update]
{{- /* What people ask by kubectl celery, and the answers. */}}
- apiGroups: [celeriac.dev]
  resources: [celerypoolrequests]
  verbs: [list, watch, delete]
- apiGroups: [celeriac.dev]
  resources: [celerypoolrequests/status]
  verbs: [patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [get, patch]
{{- /* Which agents an undo of a rollout would bring back; which pods of a rollout are old. */}}
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [get, list]
{{- /* Old workers that have drained make room in a rollout. */}}
- apiGroups: [apps]
  resources: [replicasets/scale]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, create, delete]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- if not .Values.rbac.restrictSecrets }}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
{{- end }}
{{- end -}}
