{{/* The shipped rules, with prometheusRule.runbookUrl and prometheusRule.disabled applied. */}}
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

{{/* The rules without the disabled alerts. */}}
{{- define "wickr-exporter.rulesWithout" -}}
{{- $disabled := index . 0 -}}
{{- $found := list -}}
{{- $groups := list -}}
{{- range (index . 1 | fromYaml).groups -}}
{{- $enabled := list -}}
{{- range .rules -}}
{{- if and .alert (has .alert $disabled) -}}
{{- $found = append $found .alert -}}
{{- else -}}
{{- $enabled = append $enabled . -}}
{{- end -}}
{{- end -}}
{{- if $enabled -}}
{{- $groups = append $groups (dict "name" .name "rules" $enabled) -}}
{{- end -}}
{{- end -}}
{{- range $disabled -}}
{{- if not (has . $found) -}}
{{- fail (printf "prometheusRule.disabled: unknown alert %s" .) -}}
{{- end -}}
{{- end -}}
{{- dict "groups" $groups | toYaml -}}
{{- end -}}
