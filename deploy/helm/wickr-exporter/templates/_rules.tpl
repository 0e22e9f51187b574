{{/* The rules as they are shipped, with what the values say of them. */}}
{{- define "wickr-exporter.rules" -}}
{{- $root := index . 0 -}}
{{- $rules := index . 1 | trim -}}
{{- with $root.Values.prometheusRule.runbookUrl -}}
{{- $rules = $rules | replace "runbook_url: docs/runbooks.md" (printf "runbook_url: %s" .) -}}
{{- end -}}
{{- with $root.Values.prometheusRule.disabled -}}
{{- $rules = include "wickr-exporter.rulesWithout" (list . $rules) -}}
{{- end -}}
{{- $rules -}}
{{- end -}}

{{/* The rules without some of their alerts. */}}
{{- define "wickr-exporter.rulesWithout" -}}
{{- $disabled := index . 0 -}}
{{- $found := list -}}
{{- $groups := list -}}
{{- range (index . 1 | fromYaml).groups -}}
{{- $kept := list -}}
{{- range .rules -}}
{{- if and .alert (has .alert $disabled) -}}
{{- $found = append $found .alert -}}
{{- else -}}
{{- $kept = append $kept . -}}
{{- end -}}
{{- end -}}
{{- if $kept -}}
{{- $groups = append $groups (dict "name" .name "rules" $kept) -}}
{{- end -}}
{{- end -}}
{{- range $disabled -}}
{{- if not (has . $found) -}}
{{- fail (printf "prometheusRule.disabled: there is no alert %s" .) -}}
{{- end -}}
{{- end -}}
{{- dict "groups" $groups | toYaml -}}
{{- end -}}
