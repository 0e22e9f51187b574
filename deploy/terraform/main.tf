# wickr-exporter on ECS with Fargate: one task, its roles, configuration, log and DNS name.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  region  = data.aws_region.current.name
  account = data.aws_caller_identity.current.account_id
}

# The configuration. The task reads it when it starts.
resource "aws_ssm_parameter" "config" {
  name   = "/${var.name}/config.toml"
  type   = "SecureString"
  tier   = "Intelligent-Tiering"
  key_id = var.kms_key_arn
  value  = var.config
  tags   = var.tags
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/ecs/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

# Only tasks of this account and region can use the roles.
data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${data.aws_partition.current.partition}:ecs:${local.region}:${local.account}:*"]
    }
  }
}

# The exporter's own role.
resource "aws_iam_role" "task" {
  name               = var.name
  assume_role_policy = data.aws_iam_policy_document.trust.json
  tags               = var.tags
}

resource "aws_iam_role_policy" "task" {
  name   = "wickr"
  role   = aws_iam_role.task.id
  policy = var.policy
}

# The role with which ECS pulls the image, writes the log and reads the configuration.
resource "aws_iam_role" "execution" {
  name               = "${var.name}-execution"
  assume_role_policy = data.aws_iam_policy_document.trust.json
  tags               = var.tags
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

data "aws_iam_policy_document" "configuration" {
  statement {
    actions   = ["ssm:GetParameters"]
    resources = [aws_ssm_parameter.config.arn]
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]

    content {
      actions   = ["kms:Decrypt"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role_policy" "configuration" {
  name   = "read-configuration"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.configuration.json
}

resource "aws_security_group" "this" {
  name_prefix = "${var.name}-"
  description = "wickr-exporter: scrapes by Prometheus, and requests to AWS"
  vpc_id      = var.vpc_id
  tags        = var.tags

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "prometheus" {
  security_group_id            = aws_security_group.this.id
  description                  = "Scrapes by Prometheus"
  referenced_security_group_id = var.prometheus_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = 10471
  to_port                      = 10471
  tags                         = var.tags
}

# AWS does not publish the addresses of the Wickr Admin API.
resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.this.id
  description       = "Wickr, STS, ECR, CloudWatch Logs and Systems Manager"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  tags              = var.tags
}

# As in deploy/aws/ecs/task-definition.json; a test compares them.
resource "aws_ecs_task_definition" "this" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn
  tags                     = var.tags

  runtime_platform {
    cpu_architecture        = var.cpu_architecture
    operating_system_family = "LINUX"
  }

  volume {
    name = "config"
  }

  container_definitions = jsonencode([
    {
      name                   = "config"
      image                  = "public.ecr.aws/docker/library/busybox:1.37"
      essential              = false
      readonlyRootFilesystem = true
      linuxParameters        = { capabilities = { drop = ["ALL"] } }
      command                = ["sh", "-c", "printf '%s' \"$CONFIG\" > /etc/wickr-exporter/config.toml"]
      # A new version of the parameter changes the task definition, so that the service starts a new task.
      environment = [{ name = "CONFIG_VERSION", value = tostring(aws_ssm_parameter.config.version) }]
      secrets     = [{ name = "CONFIG", valueFrom = aws_ssm_parameter.config.arn }]
      mountPoints = [{ sourceVolume = "config", containerPath = "/etc/wickr-exporter" }]
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = aws_cloudwatch_log_group.this.name
          awslogs-region        = local.region
          awslogs-stream-prefix = "config"
        }
      }
    },
    {
      name                   = "wickr-exporter"
      image                  = var.image
      essential              = true
      readonlyRootFilesystem = true
      user                   = "65532:65532"
      linuxParameters        = { capabilities = { drop = ["ALL"] } }
      command                = ["--config.file=/etc/wickr-exporter/config.toml", "--log.format=json"]
      dependsOn              = [{ containerName = "config", condition = "SUCCESS" }]
      mountPoints            = [{ sourceVolume = "config", containerPath = "/etc/wickr-exporter", readOnly = true }]
      portMappings           = [{ containerPort = 10471, protocol = "tcp" }]
      healthCheck = {
        command     = ["CMD", "/usr/bin/wickr-exporter", "health"]
        interval    = 30
        timeout     = 5
        retries     = 3
        startPeriod = 15
      }
      stopTimeout = 20
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = aws_cloudwatch_log_group.this.name
          awslogs-region        = local.region
          awslogs-stream-prefix = "exporter"
        }
      }
    },
  ])
}

resource "aws_service_discovery_service" "this" {
  count = var.namespace_id == null ? 0 : 1

  name = var.name
  tags = var.tags

  dns_config {
    namespace_id = var.namespace_id

    dns_records {
      type = "A"
      ttl  = 10
    }
  }

  health_check_custom_config {
    failure_threshold = 1
  }
}

resource "aws_ecs_service" "this" {
  name            = var.name
  cluster         = var.cluster_arn
  task_definition = aws_ecs_task_definition.this.arn
  launch_type     = "FARGATE"
  propagate_tags  = "SERVICE"
  tags            = var.tags

  # At most one task, also during an update: two would both poll every user, and totals would be doubled.
  desired_count                      = 1
  deployment_maximum_percent         = 100
  deployment_minimum_healthy_percent = 0

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [aws_security_group.this.id]
    assign_public_ip = var.assign_public_ip
  }

  dynamic "service_registries" {
    for_each = aws_service_discovery_service.this[*].arn

    content {
      registry_arn = service_registries.value
    }
  }
}
