{{- /* "true" where they are wanted and the API server has them (1.30 and later). `helm template` alone knows no kinds. */ -}}
{{- define "celeriac.admissionPolicies" -}}
{{- $has := .Capabilities.APIVersions -}}
{{- $served := or ($has.Has "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy") (not ($has.Has "v1/Pod")) -}}
{{- and .Values.admissionPolicy.enabled $served (semverCompare ">=1.30-0" .Capabilities.KubeVersion.Version) -}}
{{- end -}}

{{- /* Policies are the cluster's, and their names have no colon: celeriac.celeriac-system.pods */ -}}
{{- define "celeriac.policyName" -}}
{{- $root := index . 0 -}}
{{- printf "%s.%s.%s" (include "celeriac.fullname" $root) $root.Release.Namespace (index . 1) -}}
{{- end -}}

{{- /* By name: what each policy matches, and what must hold of it. `other` refuses every write that no other knows. */ -}}
{{- define "celeriac.admissionRules" -}}
pods:
  matchConstraints:
    resourceRules:
      - {apiGroups: [""], apiVersions: [v1], operations: [UPDATE], resources: [pods]}
  variables:
    - name: own
      expression: "['celeriac.dev/drain', 'controller.kubernetes.io/pod-deletion-cost']"
    - name: before
      expression: "has(oldObject.metadata.annotations) ? oldObject.metadata.annotations : {}"
    - name: after
      expression: "has(object.metadata.annotations) ? object.metadata.annotations : {}"
    - name: pool
      expression: "has(oldObject.metadata.labels) && 'celeriac.dev/pool' in oldObject.metadata.labels ? oldObject.metadata.labels['celeriac.dev/pool'] : ''"
  validations:
    - expression: >-
        variables.pool != '' && has(oldObject.metadata.ownerReferences) && oldObject.metadata.ownerReferences.exists(o,
        has(o.controller) && o.controller && o.kind == 'ReplicaSet' && o.apiVersion.startsWith('apps/')
        && o.name.startsWith(variables.pool + '-'))
      message: the operator may only touch Pods of its pools, which a ReplicaSet owns
    - expression: >-
        variables.after.all(k, k in variables.own || (k in variables.before && variables.before[k] == variables.after[k]))
        && variables.before.all(k, k in variables.own || k in variables.after)
      message: the operator may only change the annotations celeriac.dev/drain and controller.kubernetes.io/pod-deletion-cost of a Pod
    - expression: >-
        object.spec == oldObject.spec
        && (has(object.metadata.labels) ? object.metadata.labels : {}) == (has(oldObject.metadata.labels) ? oldObject.metadata.labels : {})
        && (has(object.metadata.finalizers) ? object.metadata.finalizers : []) == (has(oldObject.metadata.finalizers) ? oldObject.metadata.finalizers : [])
        && object.metadata.ownerReferences == oldObject.metadata.ownerReferences
      message: the operator may change nothing of a Pod but two annotations
deployments:
  matchConstraints:
    resourceRules:
      - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}
  variables:
    - name: pod
      expression: object.spec.template.spec
  validations:
    - expression: >-
        has(object.metadata.ownerReferences) && object.metadata.ownerReferences.exists(o, has(o.controller) && o.controller
        && o.kind == 'CeleryWorkerPool' && o.apiVersion.startsWith('celeriac.dev/') && o.name == object.metadata.name)
      message: the operator may only write a Deployment that the CeleryWorkerPool of its name controls
    - expression: >-
        request.operation == 'CREATE' ? object.metadata.ownerReferences.size() == 1 : (has(oldObject.metadata.ownerReferences)
        && object.metadata.ownerReferences == oldObject.metadata.ownerReferences)
      message: the operator may not take over a Deployment, nor give it another owner
    {{- /* Where no such pool is, the garbage collector removes the Deployment at once; a finalizer would keep it. */}}
    - expression: >-
        (has(object.metadata.finalizers) ? object.metadata.finalizers : [])
        == (request.operation != 'CREATE' && has(oldObject.metadata.finalizers) ? oldObject.metadata.finalizers : [])
      message: the operator may not keep a Deployment by a finalizer
    - expression: object.metadata.namespace != 'kube-system'
      message: the operator may run no pool in kube-system
    - expression: >-
        has(object.spec.selector.matchLabels) && 'celeriac.dev/pool' in object.spec.selector.matchLabels
        && object.spec.selector.matchLabels['celeriac.dev/pool'] == object.metadata.name
      message: the operator may only write a Deployment that selects the Pods of its pool
    - expression: >-
        has(variables.pod.automountServiceAccountToken) && !variables.pod.automountServiceAccountToken
        && !(has(variables.pod.hostNetwork) && variables.pod.hostNetwork) && !(has(variables.pod.hostPID) && variables.pod.hostPID)
        && !(has(variables.pod.hostIPC) && variables.pod.hostIPC) && !has(variables.pod.nodeName)
        && variables.pod.containers.exists(c, c.name == 'worker')
      message: the operator may only write Pods with a container worker, without a token, and outside of the node's namespaces
scales:
  matchConstraints:
    resourceRules:
      - {apiGroups: [apps], apiVersions: [v1], operations: [UPDATE], resources: [deployments/scale, replicasets/scale]}
  validations:
    - expression: >-
        has(oldObject.status.selector) && oldObject.status.selector.split(',').exists(s, s.startsWith('celeriac.dev/pool=')
        && (request.resource.resource == 'deployments' ? s == 'celeriac.dev/pool=' + oldObject.metadata.name
        : oldObject.metadata.name.startsWith(s.substring(18) + '-')))
      message: the operator may only scale what selects the Pods of the pool that it is named after
configmaps:
  matchConstraints:
    resourceRules:
      - {apiGroups: [""], apiVersions: [v1], operations: [CREATE, DELETE], resources: [configmaps]}
  variables:
    - name: it
      expression: "request.operation == 'DELETE' ? oldObject : object"
    - name: labels
      expression: "has(variables.it.metadata.labels) ? variables.it.metadata.labels : {}"
    - name: shared
      expression: >-
        'celeriac.dev/agent' in variables.labels && 'app.kubernetes.io/managed-by' in variables.labels
        && variables.labels['app.kubernetes.io/managed-by'] == 'celeriac'
        && variables.it.metadata.name == 'celeriac-agent-' + variables.labels['celeriac.dev/agent']
    {{- /* Release 0.1 made one for each pool. */}}
    - name: earlier
      expression: >-
        'celeriac.dev/pool' in variables.labels
        && variables.it.metadata.name.startsWith(variables.labels['celeriac.dev/pool'] + '-celeriac-agent-')
  validations:
    - expression: variables.shared || (request.operation == 'DELETE' && variables.earlier)
      message: the operator may only make and delete ConfigMaps with its agent
    - expression: request.operation == 'DELETE' || (!has(object.metadata.finalizers) && !has(object.metadata.ownerReferences))
      message: the operator may tie a ConfigMap with its agent to nothing
    - expression: request.operation == 'DELETE' || (has(object.immutable) && object.immutable)
      message: the operator may only make a ConfigMap that nobody can change
events:
  matchConstraints:
    resourceRules:
      - {apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [events]}
  validations:
    - expression: >-
        has(object.reportingComponent) && object.reportingComponent == 'celeriac.dev/operator'
        && has(object.involvedObject.kind) && object.involvedObject.kind == 'CeleryWorkerPool'
        && has(object.involvedObject.apiVersion) && object.involvedObject.apiVersion.startsWith('celeriac.dev/')
        && (request.operation == 'CREATE' || (has(oldObject.reportingComponent) && oldObject.reportingComponent == object.reportingComponent))
      message: the operator may only write events of its own, about pools
leases:
  matchConstraints:
    resourceRules:
      - {apiGroups: [coordination.k8s.io], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [leases]}
  validations:
    - expression: object.metadata.namespace == '{{ .Release.Namespace }}' && object.metadata.name == '{{ include "celeriac.fullname" . }}'
      message: the operator may only write its own Lease
other:
  matchConstraints:
    resourceRules:
      - {apiGroups: ["*"], apiVersions: ["*"], operations: ["*"], resources: ["*/*"]}
    excludeResourceRules:
      - {apiGroups: [""], apiVersions: [v1], operations: [UPDATE], resources: [pods]}
      - {apiGroups: [""], apiVersions: [v1], operations: [CREATE, DELETE], resources: [configmaps]}
      - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}
      - {apiGroups: [apps], apiVersions: [v1], operations: [UPDATE], resources: [deployments/scale, replicasets/scale]}
      - {apiGroups: [celeriac.dev], apiVersions: ["*"], operations: [UPDATE], resources: [celeryworkerpools/status, celerypoolrequests/status]}
      - {apiGroups: [celeriac.dev], apiVersions: ["*"], operations: [DELETE], resources: [celerypoolrequests]}
      - {apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [events]}
      - {apiGroups: [coordination.k8s.io], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [leases]}
      {{- /* Reviews change nothing. */}}
      - {apiGroups: [authentication.k8s.io, authorization.k8s.io], apiVersions: ["*"], operations: [CREATE], resources: ["*"]}
  validations:
    - expression: "false"
      messageExpression: "'the operator has no business with ' + request.operation + ' of ' + request.resource.resource + (has(request.subResource) && request.subResource != '' ? '/' + request.subResource : '')"
      message: the operator has no business with this
{{- end -}}
