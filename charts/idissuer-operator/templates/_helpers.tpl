{{/* The name of the application. */}}
{{- define "idissuer-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of the release's objects, with ten characters left for suffixes. A release name may contain dots, the name of a
Service may not. */}}
{{- define "idissuer-operator.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | replace "." "-" | trunc 53 | trimSuffix "-" }}
{{- else }}
{{- $name := include "idissuer-operator.name" . }}
{{- contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) | replace "." "-" | trunc 53 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Not empty if a value is given: zero is, nothing and `helm upgrade --reuse-values` from a chart without the value are not. */}}
{{- define "idissuer-operator.isGiven" -}}
{{- if not (or (kindIs "invalid" .) (eq (toString .) "")) }}true{{ end }}
{{- end }}

{{/* The namespace of the operator. */}}
{{- define "idissuer-operator.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{/* The name of cluster-wide objects: two namespaces may each have a release of the same name. */}}
{{- define "idissuer-operator.clusterName" -}}
{{- $namespace := include "idissuer-operator.namespace" . }}
{{- if eq $namespace (include "idissuer-operator.fullname" .) }}
{{- $namespace }}
{{- else }}
{{- printf "%s-%s" $namespace (include "idissuer-operator.fullname" .) }}
{{- end }}
{{- end }}

{{- define "idissuer-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "idissuer-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels for all objects except those of the test. */}}
{{- define "idissuer-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "idissuer-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "idissuer-operator.serviceAccountName" -}}
{{- default (.Values.serviceAccount.create | ternary (include "idissuer-operator.fullname" .) "default") .Values.serviceAccount.name }}
{{- end }}

{{/* Takes [the image's values, the root]. `registry` is prepended to the repository. `global.imageRegistry` replaces the
registry, or is prepended if there is none. */}}
{{- define "idissuer-operator.image" -}}
{{- $image := index . 0 }}
{{- $root := index . 1 }}
{{- $repository := $image.repository }}
{{- with $image.registry }}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) $repository }}
{{- end }}
{{- with ($root.Values.global).imageRegistry }}
{{- $parts := splitList "/" $repository }}
{{- if and (gt (len $parts) 1) (regexMatch "[.:]|^localhost$" (first $parts)) }}
{{- $parts = rest $parts }}
{{- end }}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) (join "/" $parts) }}
{{- end }}
{{- if $image.digest }}
{{- printf "%s@%s" $repository $image.digest }}
{{- else }}
{{- printf "%s:%s" $repository (default $root.Chart.AppVersion $image.tag) }}
{{- end }}
{{- end }}

{{/* The pull secrets of all pods: names, as in other charts, or references. */}}
{{- define "idissuer-operator.pullSecrets" -}}
{{- $secrets := list }}
{{- range concat (default list (.Values.global).imagePullSecrets) (default list .Values.image.pullSecrets) }}
{{- $secrets = append $secrets (kindIs "string" . | ternary (dict "name" .) .) }}
{{- end }}
{{- with uniq $secrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Not empty if the cluster assigns user, group and fsGroup: OpenShift does so per namespace, and its profile `restricted-v2`
rejects others. */}}
{{- define "idissuer-operator.omitsUserIds" -}}
{{- $when := default "auto" .Values.omitUserIds }}
{{- $isOpenShift := .Capabilities.APIVersions.Has "security.openshift.io/v1" }}
{{- if or (eq $when "always") (and (eq $when "auto") $isOpenShift) }}true{{ end }}
{{- end }}

{{/* Takes [the security context of a pod or container, the root]. */}}
{{- define "idissuer-operator.securityContext" -}}
{{- $context := default dict (index . 0) }}
{{- if include "idissuer-operator.omitsUserIds" (index . 1) }}
{{- $context = omit $context "runAsUser" "runAsGroup" "fsGroup" }}
{{- end }}
{{- with $context }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The default is that of the program. */}}
{{- define "idissuer-operator.issuer" -}}
{{- default "https://api.idissuer.pl" .Values.issuer.url }}
{{- end }}

{{/* All permissions in the scope. A test checks that each is used. */}}
{{- define "idissuer-operator.rules" -}}
- apiGroups: [idissuer.pl]
  resources: [idissuercredentials]
  verbs: [get, list, watch]
- apiGroups: [idissuer.pl]
  resources: [idissuercredentials/status]
  verbs: [update, patch]
# Lists and watches request metadata only, but `list` and `watch` include reading.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, patch]
# Only ConfigMaps in a caBundleRef.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{/* The subject of all bindings. */}}
{{- define "idissuer-operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "idissuer-operator.serviceAccountName" . }}
  namespace: {{ include "idissuer-operator.namespace" . }}
{{- end }}

{{/* The other operators of the cluster that manage the same namespaces, as text. Empty if there are none, or if the release has
no cluster-wide objects: then the user may lack the permission to look. An operator is recognised by its arguments, because it
may be installed without Helm. */}}
{{- define "idissuer-operator.rivals" -}}
{{- $mine := .Values.scope.namespaces }}
{{- $rivals := list }}
{{- if or (empty $mine) .Values.rbac.aggregate .Values.crds.enabled }}
{{- range $other := (lookup "apps/v1" "Deployment" "" "").items }}
{{- $isThisOne := and (eq .metadata.namespace (include "idissuer-operator.namespace" $)) (eq .metadata.name (include "idissuer-operator.fullname" $)) }}
{{- if and (not $isThisOne) (ne (int .spec.replicas) 0) }}
{{- range .spec.template.spec.containers }}
{{- $arguments := join "\n" .args | replace "--namespace\n" "--namespace=" | splitList "\n" }}
{{- $theirs := list }}
{{- $marks := list }}
{{- range $argument := $arguments }}
{{- if hasPrefix "--namespace=" . }}
{{- $theirs = concat $theirs (trimPrefix "--namespace=" . | splitList ",") }}
{{- end }}
{{- range list "--issuer-url" "--lease-name" }}
{{- if hasPrefix . $argument }}
{{- $marks = append $marks . }}
{{- end }}
{{- end }}
{{- end }}
{{- $shared := list }}
{{- range $theirs }}
{{- if has . $mine }}
{{- $shared = append $shared . }}
{{- end }}
{{- end }}
{{- if and (has "controller" $arguments) (eq (len (uniq $marks)) 2) (or (empty $mine) (empty $theirs) $shared) }}
{{- $where := empty $theirs | ternary "the whole cluster" (join ", " $theirs) }}
{{- $rivals = append $rivals (printf "%s/%s (%s)" $other.metadata.namespace $other.metadata.name $where) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- join ", " $rivals }}
{{- end }}

{{- define "idissuer-operator.rivalsCure" -}}
Give each operator its own namespaces (scope.namespaces), or remove the other operator, or scale it to 0. Otherwise one of them stands by in the shared namespaces.
{{- end }}

{{/* Metadata of an object for monitoring. Takes [its values, the root, a suffix of its name if there is one]. In a namespace of their own, the objects of
all releases are together. */}}
{{- define "idissuer-operator.monitorMetadata" -}}
{{- $monitor := index . 0 }}
{{- $root := index . 1 }}
{{- $suffix := rest (rest .) | join "" -}}
{{- if $monitor.namespace -}}
name: {{ include "idissuer-operator.clusterName" $root }}{{ $suffix }}
namespace: {{ $monitor.namespace }}
{{- else -}}
name: {{ include "idissuer-operator.fullname" $root }}{{ $suffix }}
namespace: {{ include "idissuer-operator.namespace" $root }}
{{- end }}
labels:
  {{- mergeOverwrite (include "idissuer-operator.labels" $root | fromYaml) (default dict $monitor.labels) | toYaml | nindent 2 }}
{{- with $monitor.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What a monitor selects. Takes [its values, the root]. */}}
{{- define "idissuer-operator.monitorSelector" -}}
{{- $monitor := index . 0 }}
{{- $root := index . 1 -}}
{{- if $monitor.namespace -}}
namespaceSelector:
  matchNames: [{{ include "idissuer-operator.namespace" $root }}]
{{ end -}}
selector:
  matchLabels:
    {{- include "idissuer-operator.selectorLabels" $root | nindent 4 }}
{{- end }}

{{/* How a monitor scrapes. Takes its values. */}}
{{- define "idissuer-operator.monitorEndpoint" -}}
port: metrics
interval: {{ .interval }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
honorLabels: {{ ne (toString .honorLabels) "false" }}
{{- with .relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The object that holds the CA bundle, as a volume; empty if there is none. */}}
{{- define "idissuer-operator.caVolume" -}}
{{- with .Values.issuer.caBundle }}
{{- if gt (len (compact (list .pem .configMap .secret))) 1 }}
{{- fail "\n\nissuer.caBundle: set only one of pem, configMap and secret\n" }}
{{- end }}
{{- if .pem }}
configMap: {name: {{ include "idissuer-operator.fullname" $ }}-ca}
{{- else if .configMap }}
configMap: {name: {{ .configMap }}}
{{- else if .secret }}
secret: {secretName: {{ .secret }}}
{{- end }}
{{- end }}
{{- end }}

{{/* The pods that injection matches. */}}
{{- define "idissuer-operator.injectionMatch" -}}
matchConstraints:
  {{- with .Values.injection.namespaceSelector }}
  namespaceSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  resourceRules:
    - apiGroups: [""]
      apiVersions: [v1]
      operations: [CREATE]
      resources: [pods]
matchConditions:
  - name: asks-for-a-token
    expression: object.metadata.?annotations[?'idissuer.pl/inject-secret'].hasValue()
{{- end }}

{{/* Resource quantities as a CEL map of strings. */}}
{{- define "idissuer-operator.quantitiesInCel" -}}
{{- $texts := dict }}
{{- range $name, $quantity := . }}
{{- $_ := set $texts $name (toString $quantity) }}
{{- end }}
{{- toJson $texts }}
{{- end }}

{{/* The namespace of the test. */}}
{{- define "idissuer-operator.testNamespace" -}}
{{- default (first (append .Values.scope.namespaces (include "idissuer-operator.namespace" .))) .Values.test.namespace }}
{{- end }}

{{- define "idissuer-operator.testName" -}}
{{ include "idissuer-operator.fullname" . }}-test
{{- end }}

{{- define "idissuer-operator.simulatorName" -}}
{{ include "idissuer-operator.fullname" . }}-simulator
{{- end }}

{{- define "idissuer-operator.simulatorUrl" -}}
http://{{ include "idissuer-operator.simulatorName" . }}.{{ include "idissuer-operator.namespace" . }}.svc:8480
{{- end }}

{{/* Scheduling of the test pods. The operator's affinity may refer to its own replicas, so it is not used. */}}
{{- define "idissuer-operator.testPlace" -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Objects that exist during the test only. Takes [weight, root]; the lowest weight comes first. */}}
{{- define "idissuer-operator.testHook" -}}
annotations:
  helm.sh/hook: test
  helm.sh/hook-weight: {{ index . 0 | quote }}
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
{{- with (index . 1).Values.commonLabels }}
labels:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
