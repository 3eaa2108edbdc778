{{/* What the controller may do, as rules of a Role or a ClusterRole. Each says what for. */}}

{{/* In namespaces whose ActionSets are carried out. */}}
{{- define "cistern.ordersRules" -}}
# ActionSets are carried out, their status is written into them, and they go when their time is over.
- apiGroups: [cr.kanister.io]
  resources: [actionsets]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [cr.kanister.io]
  resources: [blueprints, profiles]
  verbs: [get]
# Schedules say in their status what they have done; bindings say which blueprint is for which workload.
- apiGroups: [cistern.dev]
  resources: [backupschedules]
  verbs: [get, list, update]
- apiGroups: [cistern.dev]
  resources: [blueprintbindings]
  verbs: [list]
# Repositories say in their status how they are. Jobs beside them keep them in shape.
- apiGroups: [cistern.dev]
  resources: [repositories]
  verbs: [get, list, update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, create, delete]
# What happens to an ActionSet or a Repository is told as Events.
- apiGroups: [""]
  resources: [events]
  verbs: [get, create, patch]
{{- end }}

{{/* Wherever functions act. */}}
{{- define "cistern.workRules" -}}
# Pods of functions: made, listened to, and freed of their finalizer when their outcome is recorded.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, create, patch, delete]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
# Read for templates and profiles. Made for pods, which own them: credentials reach them as files.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get]
# The objects of ActionSets. A namespace can be one; a Role in it reaches to itself.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [get, list]
- apiGroups: [apps.openshift.io]
  resources: [deploymentconfigs]
  verbs: [get, list]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list]
{{- with .Values.rbac.functions }}
{{- if .exec }}
# Commands in containers. Over a WebSocket the verb is get, since 1.35 it is create.
- apiGroups: [""]
  resources: [pods/exec]
  verbs: [get, create]
{{- end }}
{{- if .scale }}
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [patch]
- apiGroups: [apps.openshift.io]
  resources: [deploymentconfigs]
  verbs: [patch]
{{- end }}
{{- if .snapshots }}
- apiGroups: [snapshot.storage.k8s.io]
  resources: [volumesnapshots]
  verbs: [get, create, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [create]
{{- end }}
{{- end }}
{{- with .Values.rbac.extraRules }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* On what has no namespace. */}}
{{- define "cistern.clusterRules" -}}
{{- if eq .Values.scope "cluster" }}
# Schedules may select by the labels of namespaces.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list]
{{- end }}
{{- if .Values.rbac.functions.snapshots }}
- apiGroups: [snapshot.storage.k8s.io]
  resources: [volumesnapshotcontents]
  verbs: [get, create, delete]
- apiGroups: [snapshot.storage.k8s.io]
  resources: [volumesnapshotclasses]
  verbs: [get]
{{- end }}
{{- if and .Values.webhook.enabled (eq .Values.webhook.certificate.from "controller") }}
# Its own webhook is told the authority of its certificate.
- apiGroups: [admissionregistration.k8s.io]
  resources: [validatingwebhookconfigurations]
  resourceNames: [{{ include "cistern.clusterName" . }}]
  verbs: [get, patch]
{{- end }}
{{- with .Values.rbac.extraClusterRules }}
{{ toYaml . }}
{{- end }}
{{- end }}
