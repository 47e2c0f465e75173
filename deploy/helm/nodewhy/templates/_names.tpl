{{- define "nodewhy.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "nodewhy.fullname" -}}
{{- $name := include "nodewhy.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* ClusterRoles and policies have no namespace: two releases of one name need two names. */}}
{{- define "nodewhy.clusterName" -}}
{{- $full := include "nodewhy.fullname" . -}}
{{- eq .Release.Namespace $full | ternary $full (printf "%s-%s" .Release.Namespace $full) -}}
{{- end }}

{{- define "nodewhy.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "nodewhy.fullname" .) "default") -}}
{{- end }}

{{- define "nodewhy.selector" -}}
app.kubernetes.io/name: {{ include "nodewhy.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "nodewhy.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{ include "nodewhy.selector" . }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "nodewhy.image" -}}
{{- with .Values.image -}}
{{- $name := empty .registry | ternary .repository (printf "%s/%s" .registry .repository) -}}
{{- empty .digest | ternary (printf "%s:%s" $name (.tag | default $.Chart.AppVersion)) (printf "%s@%s" $name .digest) -}}
{{- end -}}
{{- end }}
