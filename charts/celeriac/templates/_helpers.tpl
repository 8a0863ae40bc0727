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
{{ include "celeriac.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "celeriac.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "celeriac.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed when serviceAccount.create is false: the operator cannot work with the account \"default\"" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "celeriac.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
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
  resources: [secrets]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
