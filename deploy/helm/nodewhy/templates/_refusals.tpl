{{/* What the schema cannot say in words that help. */}}
{{- define "nodewhy.refusals" -}}
{{- $profile := .Values.securityProfile -}}
{{- range $name := list "podLogsDir" "stateDir" "kubeletRootDir" "runtimeRootDir" -}}
{{- if not (hasPrefix "/" (get $.Values $name)) -}}
{{- fail (printf "%s is %q: give the absolute path on the node" $name (get $.Values $name)) -}}
{{- end -}}
{{- end -}}
{{- with .Values.imageRootDir -}}
{{- if not (hasPrefix "/" .) -}}
{{- fail (printf "imageRootDir is %q: give the absolute path of CRI-O's imagestore on the node, or leave it empty" .) -}}
{{- end -}}
{{- end -}}
{{- with .Values.kubeletConfigFile -}}
{{- if not (hasPrefix "/" .) -}}
{{- fail (printf "kubeletConfigFile is %q: give the absolute path on the node, or leave it empty" .) -}}
{{- end -}}
{{- end -}}
{{- range $path := compact (list .Values.kubeletRootDir .Values.runtimeRootDir .Values.imageRootDir .Values.stateDir .Values.podLogsDir .Values.kubeletConfigFile (include "nodewhy.kubeletLog" .)) -}}
{{- if or (has ".." (splitList "/" $path)) (hasSuffix "/" $path) -}}
{{- fail (printf "the path %q must not contain .. or end with /" $path) -}}
{{- end -}}
{{- end -}}
{{- with include "nodewhy.kubeletLog" . -}}
{{- if not (or (has . (list "auto" "journal" "none")) (hasPrefix "/" .)) -}}
{{- fail (printf "kubeletLog is %q: give auto, journal, none, or the absolute path of the file that the kubelet writes" .) -}}
{{- end -}}
{{- end -}}
{{- range $value := list "kubeletUnits" "runtimeUnits" -}}
{{- range $unit := get $.Values $value -}}
{{- if not (regexMatch "^[A-Za-z0-9:_.@\\\\-]+$" $unit) -}}
{{- fail (printf "%s has %q: give the unit's name as `systemctl list-units --type=service` shows it on a node, such as kubelet.service" $value $unit) -}}
{{- end -}}
{{- if not (has (include "nodewhy.kubeletLog" $) (list "auto" "journal")) -}}
{{- fail (printf "%s names %s, a unit of the journal, which is not read with kubeletLog %s: leave %s empty, or set kubeletLog to auto" $value $unit (include "nodewhy.kubeletLog" $) $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $log := include "nodewhy.kernelLog" . -}}
{{- if and (eq $log "syslog") (not (has $profile (list "syslog" "kmsg"))) -}}
{{- fail (printf "kernelLog is syslog, and the securityProfile %s does not grant CAP_SYSLOG: choose securityProfile syslog" $profile) -}}
{{- end -}}
{{- if and (eq $log "kmsg") (ne $profile "kmsg") -}}
{{- fail (printf "kernelLog is kmsg, and the securityProfile %s may not open /dev/kmsg: choose securityProfile kmsg" $profile) -}}
{{- end -}}
{{- if and (eq $profile "api-only") (ne $log "none") -}}
{{- fail (printf "kernelLog is %s, and the securityProfile api-only reads nothing of the node: leave kernelLog empty, or choose securityProfile journal" $log) -}}
{{- end -}}
{{- if and (eq $profile "api-only") (ne (include "nodewhy.kubeletLog" .) "none") -}}
{{- fail "kubeletLog is set, and the securityProfile api-only reads nothing of the node: leave kubeletLog empty, or choose securityProfile journal" -}}
{{- end -}}
{{- if and (eq $profile "api-only") (ne .Values.pods "auto") -}}
{{- fail (printf "pods is %s, and the securityProfile api-only has no other source than the API server: set pods to auto" .Values.pods) -}}
{{- end -}}
{{- if and (eq $profile "autopilot") (hasPrefix "/" (include "nodewhy.kubeletLog" .)) (not (hasPrefix "/var/log/" (include "nodewhy.kubeletLog" .))) -}}
{{- fail "kubeletLog lies outside of /var/log, which is all that the securityProfile autopilot may mount" -}}
{{- end -}}
{{- if and (eq $profile "autopilot") (not (hasPrefix "/var/log/" .Values.podLogsDir)) -}}
{{- fail "podLogsDir lies outside of /var/log, which is all that the securityProfile autopilot may mount" -}}
{{- end -}}
{{- if and (has $profile (list "syslog")) (eq (toString .Values.hostUsers) "false") (ne $log "journal") -}}
{{- fail "hostUsers is false, and syslog(2) does not work in a user namespace: leave hostUsers null, or choose securityProfile journal" -}}
{{- end -}}
{{- if and .Values.image.digest (not (hasPrefix "sha256:" .Values.image.digest)) -}}
{{- fail (printf "image.digest is %q: it begins with sha256:" .Values.image.digest) -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- if not .name -}}
{{- fail "extraEnv has an entry without a name: each is {name: ..., value: ...} or {name: ..., valueFrom: ...}" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.kubeletApi.enabled (not (include "nodewhy.asksApiServer" .)) -}}
{{- fail (printf "kubeletApi.enabled is true, and with pods %s the agent has no token to show the kubelet: set pods to auto" .Values.pods) -}}
{{- end -}}
{{- if and (include "nodewhy.asksApiServer" .) (not .Values.serviceAccount.automountServiceAccountToken) -}}
{{- fail "serviceAccount.automountServiceAccountToken is false, and pods is auto, which asks the API server: set pods to directory" -}}
{{- end -}}
{{- end }}
