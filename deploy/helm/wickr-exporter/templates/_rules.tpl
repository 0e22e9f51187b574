{{/* The shipped rules with the values of prometheusRule applied: a map of paths to rules. */}}
{{- define "wickr-exporter.rules" -}}
{{- $values := .Values.prometheusRule -}}
{{- $files := .Files.Glob "files/prometheus/*.rules.yml" -}}
{{- if not $files -}}
{{- fail "prometheusRule.enabled: the chart has no rules in files/prometheus; use the complete chart" -}}
{{- end -}}
{{- $known := list -}}
{{- $result := dict -}}
{{- range $path, $content := $files -}}
{{- $groups := list -}}
{{- range ($content | toString | fromYaml).groups -}}
{{- $rules := list -}}
{{- range .rules -}}
{{- if .alert -}}{{- $known = append $known .alert -}}{{- end -}}
{{- if not (has .alert $values.disabled) -}}
{{- $rules = append $rules (include "wickr-exporter.rule" (list $ .) | fromYaml) -}}
{{- end -}}
{{- end -}}
{{- if $rules -}}
{{- $groups = append $groups (dict "name" .name "rules" $rules) -}}
{{- end -}}
{{- end -}}
{{- if not $groups -}}
{{- fail (printf "prometheusRule.enabled: %s has no rules; use the complete chart" $path) -}}
{{- end -}}
{{- $_ := set $result $path (dict "groups" $groups) -}}
{{- end -}}
{{- range concat $values.disabled (keys $values.alerts | sortAlpha) -}}
{{- if not (has . $known) -}}
{{- fail (printf "prometheusRule: unknown alert %s in disabled or alerts" .) -}}
{{- end -}}
{{- end -}}
{{- toYaml $result -}}
{{- end -}}

{{/* One rule with its values applied. */}}
{{- define "wickr-exporter.rule" -}}
{{- $root := index . 0 -}}
{{- $rule := index . 1 -}}
{{- $values := $root.Values.prometheusRule -}}
{{- $annotations := dict -}}
{{- range $name, $text := $rule.annotations -}}
{{- $_ := set $annotations $name (include "wickr-exporter.ruleText" (list $root $rule $text)) -}}
{{- end -}}
{{- $_ := set $rule "expr" (include "wickr-exporter.ruleText" (list $root $rule $rule.expr)) -}}
{{- with $rule.alert -}}
{{- $changes := get $values.alerts . | default dict -}}
{{- $thresholds := get ($root.Files.Get "files/thresholds.yaml" | fromYaml) . | default dict -}}
{{- range $key := omit $changes "severity" "for" "keepFiringFor" "labels" "annotations" | keys | sortAlpha -}}
{{- if not (hasKey $thresholds $key) -}}
{{- fail (printf "prometheusRule.alerts.%s.%s: the alert has no such threshold; it has: %s" $rule.alert $key (keys $thresholds | sortAlpha | join ", " | default "none")) -}}
{{- end -}}
{{- end -}}
{{- with $changes.for -}}{{- $_ := set $rule "for" . -}}{{- end -}}
{{- with $changes.keepFiringFor -}}{{- $_ := set $rule "keep_firing_for" . -}}{{- end -}}
{{- $severity := $changes.severity | default $rule.labels.severity -}}
{{- $_ := set $rule "labels" (merge (dict "severity" $severity) ($changes.labels | default dict) $values.alertLabels) -}}
{{- with $values.runbookUrl -}}
{{- $_ := set $annotations "runbook_url" (printf "%s#%s" . (lower $rule.alert)) -}}
{{- end -}}
{{- $_ := set $rule "annotations" (merge ($changes.annotations | default dict) $annotations) -}}
{{- end -}}
{{- toYaml $rule -}}
{{- end -}}

{{/* An expression or annotation with the job, the cluster label and the thresholds of its alert. */}}
{{- define "wickr-exporter.ruleText" -}}
{{- $root := index . 0 -}}
{{- $rule := index . 1 -}}
{{- $text := index . 2 -}}
{{- $values := $root.Values.prometheusRule -}}
{{- $job := $values.job | default $root.Values.serviceMonitor.job -}}
{{- $text = $text | replace `job="wickr-exporter"` (printf `job=%q` $job) -}}
{{- $text = $text | replace `job=~"wickr-exporter(-devices)?"` (printf `job=~"%s(-devices)?"` $job) -}}
{{- with $values.clusterLabel -}}
{{- $text = regexReplaceAll `\b(by|on) \(` $text (printf "${1} (%s, " .) -}}
{{- /* Queries in annotations select the alert's cluster. */ -}}
{{- $text = regexReplaceAll `\{(network_id|instance|job)=%q` $text (printf "{%s=%%q, ${1}=%%q" .) -}}
{{- $text = regexReplaceAll `\bquery "(wickr_\w+)"` $text (printf "printf \"${1}{%s=%%q}\" $$labels.%s | query" . .) -}}
{{- $text = regexReplaceAll `" \$(labels|exporter\.Labels)\.(network_id|instance|job)` $text (printf "\" $$labels.%s $$${1}.${2}" .) -}}
{{- end -}}
{{- $changes := get $values.alerts ($rule.alert | default "") | default dict -}}
{{- range $key, $threshold := get ($root.Files.Get "files/thresholds.yaml" | fromYaml) ($rule.alert | default "") | default dict -}}
{{- if hasKey $changes $key -}}
{{- $value := get $changes $key -}}
{{- if eq (float64 $value) (float64 (int64 $value)) -}}{{- $value = int64 $value -}}{{- end -}}
{{- range $threshold.texts -}}
{{- $text = $text | replace (. | replace "{}" (toString $threshold.default)) (. | replace "{}" (toString $value)) -}}
{{- end -}}
{{- range $threshold.seconds -}}
{{- $text = $text | replace (. | replace "{}" (mul $threshold.default 86400 | toString)) (. | replace "{}" (mulf $value 86400 | int64 | toString)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $text -}}
{{- end -}}
