{{/* The name of the application. */}}
{{- define "idissuer-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of the release's objects. Ten characters are left for what some of them append. A release may have dots
in its name, a Service may not. */}}
{{- define "idissuer-operator.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | replace "." "-" | trunc 53 | trimSuffix "-" }}
{{- else }}
{{- $name := include "idissuer-operator.name" . }}
{{- contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) | replace "." "-" | trunc 53 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* The name of what belongs to no namespace: two releases of one name may lie in two namespaces. */}}
{{- define "idissuer-operator.clusterName" -}}
{{- if eq .Release.Namespace (include "idissuer-operator.fullname" .) }}
{{- .Release.Namespace }}
{{- else }}
{{- printf "%s-%s" .Release.Namespace (include "idissuer-operator.fullname" .) }}
{{- end }}
{{- end }}

{{- define "idissuer-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "idissuer-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of all objects but the test's. */}}
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

{{/* Takes [the image's values, the root]. */}}
{{- define "idissuer-operator.image" -}}
{{- $image := index . 0 }}
{{- if $image.digest }}
{{- printf "%s@%s" $image.repository $image.digest }}
{{- else }}
{{- printf "%s:%s" $image.repository (default (index . 1).Chart.AppVersion $image.tag) }}
{{- end }}
{{- end }}

{{- define "idissuer-operator.issuer" -}}
{{- required "\n\nissuer.url is not set. Say which ID Issuer to log in at, for example:\n\n  --set issuer.url=https://api.idissuer.pl\n" .Values.issuer.url }}
{{- end }}

{{/* The rights in the scope, all of them. A test of the project holds them to what is used. */}}
{{- define "idissuer-operator.rules" -}}
- apiGroups: [idissuer.pl]
  resources: [idissuercredentials]
  verbs: [get, list, watch]
- apiGroups: [idissuer.pl]
  resources: [idissuercredentials/status]
  verbs: [patch]
# Lists and watches ask for metadata only, but `list` and `watch` are the right to read.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, patch]
# Only those that a caBundleRef names.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{/* Who has them. */}}
{{- define "idissuer-operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "idissuer-operator.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{/* The object that holds the CA bundle, as a volume; empty if there is none. */}}
{{- define "idissuer-operator.caVolume" -}}
{{- with .Values.issuer.caBundle }}
{{- if gt (len (compact (list .pem .configMap .secret))) 1 }}
{{- fail "\n\nissuer.caBundle: give one of pem, configMap and secret, not several\n" }}
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

{{/* Which pods injection looks at. */}}
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

{{/* Amounts of resources as a map of CEL, in which all values are texts. */}}
{{- define "idissuer-operator.quantitiesInCel" -}}
{{- $texts := dict }}
{{- range $name, $quantity := . }}
{{- $_ := set $texts $name (toString $quantity) }}
{{- end }}
{{- toJson $texts }}
{{- end }}

{{/* Where the test takes place. */}}
{{- define "idissuer-operator.testNamespace" -}}
{{- default (first (append .Values.scope.namespaces .Release.Namespace)) .Values.test.namespace }}
{{- end }}

{{- define "idissuer-operator.testName" -}}
{{ include "idissuer-operator.fullname" . }}-test
{{- end }}

{{- define "idissuer-operator.simulatorName" -}}
{{ include "idissuer-operator.fullname" . }}-simulator
{{- end }}

{{- define "idissuer-operator.simulatorUrl" -}}
http://{{ include "idissuer-operator.simulatorName" . }}.{{ .Release.Namespace }}.svc:8480
{{- end }}

{{/* Where the pods of the test may run: the operator's affinity may well be about its own replicas. */}}
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

{{/* What is there during the test only. Takes [its weight, the root]: the lowest comes first. */}}
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
