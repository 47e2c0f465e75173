{{/* What each security profile means. All other templates ask here, so that the DaemonSet, the policies and the
     SecurityContextConstraints cannot differ. */}}

{{/* The node's own files are read: everything but api-only and autopilot. */}}
{{- define "nodewhy.readsNode" -}}
{{- if has .Values.securityProfile (list "journal" "syslog" "kmsg") -}}true{{- end -}}
{{- end }}

{{- define "nodewhy.kernelLog" -}}
{{- $of := dict "journal" "journal" "syslog" "auto" "kmsg" "kmsg" "api-only" "none" "autopilot" "journal" -}}
{{- .Values.kernelLog | default (get $of .Values.securityProfile) -}}
{{- end }}

{{- define "nodewhy.kubeletLog" -}}
{{- .Values.kubeletLog | default (eq .Values.securityProfile "api-only" | ternary "none" "auto") -}}
{{- end }}

{{/* The folders that stand for the disks. */}}
{{- define "nodewhy.kubeletRoot" -}}
{{- eq .Values.disks "pods" | ternary .Values.kubeletRootDir (printf "%s/nodewhy" .Values.kubeletRootDir) -}}
{{- end }}
{{- define "nodewhy.runtimeRoot" -}}
{{- eq .Values.disks "pods" | ternary .Values.runtimeRootDir (printf "%s/nodewhy" .Values.runtimeRootDir) -}}
{{- end }}

{{/* The API server is asked for pods: a token and rights are needed. */}}
{{- define "nodewhy.asksApiServer" -}}
{{- if eq .Values.pods "auto" -}}true{{- end -}}
{{- end }}

{{/* Every path of the host that is mounted, as a list of
       name, path    the volume and its place on the node
       at            where the agent sees it
       type          Directory, File or CharDevice for what every node has; DirectoryOrCreate for what a node may lack
                     and where an empty folder changes nothing. Never none: the runtime would make what is missing,
                     and a /var/log/journal that it makes turns journald's volatile journal into a persistent one.
       writable      only the state
     and propagation, HostToContainer only where pods' volumes come and go: an unmount that did not reach the agent
     would keep a volume busy. Nowhere else, because nodes whose root mount is private (OpenRC) refuse it. */}}
{{- define "nodewhy.hostPaths" -}}
{{- $paths := list -}}
{{- if include "nodewhy.readsNode" . -}}
{{- $paths = append $paths (dict "name" "proc" "path" "/proc" "at" "/host/proc" "type" "Directory") -}}
{{- $paths = append $paths (dict "name" "cgroup" "path" "/sys/fs/cgroup" "at" "/host/sys/fs/cgroup" "type" "Directory") -}}
{{- end -}}
{{- if ne .Values.securityProfile "api-only" -}}
{{- $paths = append $paths (dict "name" "var-log" "path" "/var/log" "at" "/var/log" "type" "Directory") -}}
{{- end -}}
{{- if include "nodewhy.readsNode" . -}}
{{- $paths = append $paths (dict "name" "run-log" "path" "/run/log" "at" "/run/log" "type" "DirectoryOrCreate") -}}
{{- if not (hasPrefix "/var/log/" .Values.podLogsDir) -}}
{{- $paths = append $paths (dict "name" "pod-logs" "path" .Values.podLogsDir "at" .Values.podLogsDir "type" "DirectoryOrCreate") -}}
{{- end -}}
{{- with include "nodewhy.kubeletLog" . -}}
{{- if and (hasPrefix "/" .) (not (hasPrefix "/var/log/" .)) -}}
{{- $paths = append $paths (dict "name" "kubelet-log" "path" (dir .) "at" (dir .) "type" "DirectoryOrCreate") -}}
{{- end -}}
{{- end -}}
{{- if eq .Values.disks "filesystems" -}}
{{- range list (list "kubelet-disk" .Values.kubeletRootDir) (list "runtime-disk" .Values.runtimeRootDir) -}}
{{- $folder := printf "%s/nodewhy" (last .) -}}
{{- $paths = append $paths (dict "name" (first .) "path" $folder "at" $folder "type" "DirectoryOrCreate") -}}
{{- end -}}
{{- else if eq .Values.disks "pods" -}}
{{- $paths = append $paths (dict "name" "kubelet-disk" "path" .Values.kubeletRootDir "at" .Values.kubeletRootDir "type" "Directory" "propagation" "HostToContainer") -}}
{{- $paths = append $paths (dict "name" "runtime-disk" "path" .Values.runtimeRootDir "at" .Values.runtimeRootDir "type" "DirectoryOrCreate" "propagation" "HostToContainer") -}}
{{- end -}}
{{- with .Values.imageRootDir -}}
{{- if ne $.Values.disks "none" -}}
{{- $folder := printf "%s/nodewhy" . -}}
{{- $paths = append $paths (dict "name" "image-disk" "path" $folder "at" $folder "type" "DirectoryOrCreate") -}}
{{- end -}}
{{- end -}}
{{- with .Values.kubeletConfigFile -}}
{{- if not (and (eq $.Values.disks "pods") (hasPrefix (printf "%s/" $.Values.kubeletRootDir) .)) -}}
{{- $paths = append $paths (dict "name" "kubelet-config" "path" . "at" . "type" "File") -}}
{{- end -}}
{{- end -}}
{{- if eq .Values.securityProfile "kmsg" -}}
{{- $paths = append $paths (dict "name" "kmsg" "path" "/dev/kmsg" "at" "/dev/kmsg" "type" "CharDevice") -}}
{{- end -}}
{{- $paths = append $paths (dict "name" "state" "path" .Values.stateDir "at" .Values.stateDir "type" "DirectoryOrCreate" "writable" true) -}}
{{- end -}}
{{- toYaml $paths -}}
{{- end }}

{{- define "nodewhy.podSecurityContext" -}}
{{- $context := dict "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- toYaml (mergeOverwrite $context (deepCopy .Values.podSecurityContext)) -}}
{{- end }}

{{- define "nodewhy.securityContext" -}}
{{- $context := dict "readOnlyRootFilesystem" true -}}
{{- if eq .Values.securityProfile "kmsg" -}}
{{- $_ := set $context "privileged" true -}}
{{- else -}}
{{- $_ := set $context "privileged" false -}}
{{- $_ := set $context "allowPrivilegeEscalation" false -}}
{{- $_ := set $context "capabilities" (dict "drop" (list "ALL")) -}}
{{- end -}}
{{- if eq .Values.securityProfile "syslog" -}}
{{- $_ := set $context.capabilities "add" (list "SYSLOG") -}}
{{- end -}}
{{- if eq .Values.securityProfile "api-only" -}}
{{- $context = merge $context (dict "runAsUser" 65532 "runAsGroup" 65532 "runAsNonRoot" true) -}}
{{- else -}}
{{- $_ := set $context "runAsUser" 0 -}}
{{- end -}}
{{- toYaml (mergeOverwrite $context (deepCopy .Values.securityContext)) -}}
{{- end }}
