variable "name" {
  description = "Name of the service and prefix of all other resources."
  type        = string
  default     = "wickr-exporter"
}

variable "image" {
  description = "Image in your registry, with a tag or digest. deploy/docker/Dockerfile builds it."
  type        = string
}

variable "config" {
  description = "The exporter's configuration, in TOML. Without secrets. Limited to 8 KB."
  type        = string
}

variable "policy" {
  description = "IAM policy of the task, as `wickr-exporter check --iam-policy` prints it."
  type        = string
}

variable "cpu_architecture" {
  description = "X86_64 or ARM64. The image must be built for it."
  type        = string
  default     = "X86_64"

  validation {
    condition     = contains(["X86_64", "ARM64"], var.cpu_architecture)
    error_message = "Must be X86_64 or ARM64."
  }
}

variable "cpu" {
  description = "CPU units of the task; 1024 is one virtual CPU."
  type        = number
  default     = 256
}

variable "memory" {
  description = "Memory of the task, in MiB."
  type        = number
  default     = 512
}

variable "cluster_arn" {
  description = "ARN of the ECS cluster."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the task."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets of the task, with a NAT gateway or VPC endpoints; see README.md."
  type        = list(string)
}

variable "assign_public_ip" {
  description = "Whether the task gets a public address, for a subnet without a NAT gateway."
  type        = bool
  default     = false
}

variable "prometheus_security_group_id" {
  description = "Security group of Prometheus, which may connect to port 10471."
  type        = string
}

variable "namespace_id" {
  description = "AWS Cloud Map namespace in which Prometheus finds the task. Default: none."
  type        = string
  default     = null
}

variable "kms_key_arn" {
  description = "Customer managed key for the configuration and the log. Its policy must allow CloudWatch Logs. Default: keys of AWS."
  type        = string
  default     = null
}

variable "log_retention_days" {
  description = "Days after which log lines are deleted."
  type        = number
  default     = 365
}

variable "tags" {
  description = "Tags of all resources."
  type        = map(string)
  default     = {}
}
