{{/* What a pod in the release's namespace may be, as CEL on the pod: a list of {expression, message}. Exactly what this
     release renders, and `helm test`. Both policy engines speak it. */}}
{{- define "nodewhy.policyRules" -}}
{{- $context := include "nodewhy.securityContext" . | fromYaml -}}
{{- $capabilities := ($context.capabilities | default dict).add | default list -}}
{{- $readable := list -}}
{{- $writable := list -}}
{{- range include "nodewhy.hostPaths" . | fromYamlArray -}}
{{- $readable = append $readable .path -}}
{{- if .writable -}}{{- $writable = append $writable .path -}}{{- end -}}
{{- end -}}
{{- $extra := list -}}
{{- range .Values.extraVolumes -}}
{{- if .hostPath -}}
{{- $readable = append $readable .hostPath.path -}}
{{- else -}}
{{- $extra = append $extra .name -}}
{{- end -}}
{{- end -}}
{{- $containers := "(object.spec.containers + object.spec.?initContainers.orValue([]))" -}}
{{- $volumes := "object.spec.?volumes.orValue([])" -}}
- message: nodewhy's pods share no namespace with the host
  expression: >-
    !object.spec.?hostPID.orValue(false) && !object.spec.?hostIPC.orValue(false)
    {{- if not .Values.hostNetwork }} && !object.spec.?hostNetwork.orValue(false){{ end }}
- message: no container is added to a running pod of nodewhy
  expression: >-
    object.spec.?ephemeralContainers.orValue([]).size() == 0
- message: {{ $context.privileged | ternary "nodewhy's containers have a read-only root file system" "nodewhy's containers are not privileged, cannot become more than they are, and have a read-only root file system" | quote }}
  expression: >-
    {{ $containers }}.all(c,
    {{- if not $context.privileged }}
    !c.?securityContext.privileged.orValue(false) && !c.?securityContext.allowPrivilegeEscalation.orValue(true) &&
    {{- end }}
    c.?securityContext.readOnlyRootFilesystem.orValue(false) &&
    c.?securityContext.procMount.orValue("Default") == "Default")
{{- if not $context.privileged }}
- message: nodewhy's containers drop all capabilities and add {{ empty $capabilities | ternary "none" (join ", " $capabilities) }}
  expression: >-
    {{ $containers }}.all(c,
    c.?securityContext.capabilities.drop.orValue([]).exists(d, d == "ALL") &&
    c.?securityContext.capabilities.add.orValue([]).all(a, a in {{ toJson $capabilities }}))
{{- end }}
- message: nodewhy's containers run with the runtime's seccomp profile
  expression: >-
    object.spec.?securityContext.seccompProfile.type.orValue("") == "RuntimeDefault" &&
    {{ $containers }}.all(c, c.?securityContext.seccompProfile.type.orValue("RuntimeDefault") == "RuntimeDefault")
- message: {{ empty $readable | ternary "nodewhy's pods mount nothing of the node" (printf "nodewhy's pods mount nothing of the node but %s" (join ", " $readable)) | quote }}
  expression: >-
    {{ $volumes }}.all(v, !has(v.hostPath) || v.hostPath.path in {{ toJson $readable }})
- message: {{ empty $writable | ternary "nodewhy's pods write nothing on the node" (printf "nodewhy's pods write nothing on the node but %s" (join ", " $writable)) | quote }}
  expression: >-
    {{ $volumes }}.filter(v, has(v.hostPath) && !(v.hostPath.path in {{ toJson $writable }})).all(v,
    {{ $containers }}.all(c, c.?volumeMounts.orValue([]).all(m, m.name != v.name || m.?readOnly.orValue(false))))
- message: nodewhy's pods hold no secret but their own token{{ if .Values.findings.tokenSecret.name }} and {{ .Values.findings.tokenSecret.name }}{{ end }}
  expression: >-
    {{ $volumes }}.all(v, has(v.hostPath) || has(v.emptyDir) ||
    (has(v.projected) && v.projected.?sources.orValue([]).all(s, !has(s.secret)))
    {{- with .Values.findings.tokenSecret.name }} || (has(v.secret) && v.secret.secretName == {{ quote . }}){{ end }}
    {{- if $extra }} || v.name in {{ toJson $extra }}{{ end }})
{{- end }}
