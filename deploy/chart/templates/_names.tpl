{{/* Names and labels, and the namespaces the controller works in. */}}

{{- define "cistern.name" -}}
{{- if contains "cistern" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-cistern" .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* For what has no namespace: two releases of one name in two namespaces must not meet. */}}
{{- define "cistern.clusterName" -}}
{{ include "cistern.name" . }}-{{ .Release.Namespace }}
{{- end }}

{{- define "cistern.serviceAccount" -}}
{{- if .Values.serviceAccount.name }}{{ .Values.serviceAccount.name }}
{{- else if .Values.serviceAccount.create }}{{ include "cistern.name" . }}
{{- else }}{{ fail "serviceAccount.create is false: say which account with serviceAccount.name" }}
{{- end }}
{{- end }}

{{- define "cistern.selector" -}}
app.kubernetes.io/name: cistern
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end }}

{{- define "cistern.labels" -}}
{{ include "cistern.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "cistern.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* Where ActionSets are carried out, as a JSON list. */}}
{{- define "cistern.watched" -}}
{{- concat (list .Release.Namespace) .Values.watchNamespaces | uniq | toJson }}
{{- end }}

{{/* Those, and where applications are. */}}
{{- define "cistern.worked" -}}
{{- concat (list .Release.Namespace) .Values.watchNamespaces .Values.applicationNamespaces | uniq | toJson }}
{{- end }}

{{- define "cistern.webhookSecret" -}}
{{ include "cistern.name" . }}-webhook
{{- end }}
