//! Error responses, from the API reference and AWS's list of common errors.

use std::borrow::Cow;

use serde_json::{Value, json};

/// An error response: a status, the name in `x-amzn-errortype`, and a JSON body.
#[derive(Clone, Debug)]
pub(super) struct ApiError {
    pub(super) status: u16,
    pub(super) kind: Cow<'static, str>,
    pub(super) body: Value,
    pub(super) retry_after: Option<String>,
}

impl ApiError {
    pub(super) fn new(
        status: u16,
        kind: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        let body = json!({ "message": message.into() });
        Self { status, kind: kind.into(), body, retry_after: None }
    }

    /// 422 with pairs of field and reason.
    pub(super) fn validation(reasons: &[(&str, String)]) -> Self {
        let reasons: Vec<Value> = reasons
            .iter()
            .map(|(field, reason)| json!({ "field": field, "reason": reason }))
            .collect();
        let body = json!({ "message": "The request is not valid.", "reasons": reasons });
        Self { status: 422, kind: "ValidationError".into(), body, retry_after: None }
    }

    pub(super) fn bad_request(message: &str) -> Self {
        Self::new(400, "BadRequestError", message)
    }

    pub(super) fn invalid_token() -> Self {
        Self::bad_request("Invalid nextToken.")
    }

    pub(super) fn not_found(message: &str) -> Self {
        Self::new(404, "ResourceNotFoundError", message)
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(403, "ForbiddenError", message)
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(401, "UnauthorizedError", "Unauthorized.")
    }

    pub(super) fn rate_limit() -> Self {
        Self::new(429, "RateLimitError", "Rate limit exceeded.")
    }

    pub(super) fn expired_token() -> Self {
        let message = "The security token included in the request is expired";
        Self::new(403, "ExpiredTokenException", message)
    }

    pub(super) fn unknown_client() -> Self {
        let message = "The security token included in the request is invalid.";
        Self::new(403, "UnrecognizedClientException", message)
    }

    pub(super) fn missing_authentication() -> Self {
        Self::new(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
    }

    pub(super) fn incomplete_signature(message: impl Into<String>) -> Self {
        Self::new(403, "IncompleteSignatureException", message)
    }

    pub(super) fn invalid_signature(message: impl Into<String>) -> Self {
        Self::new(403, "InvalidSignatureException", message)
    }

    /// The default error of a status.
    pub(super) fn of_status(status: u16) -> Self {
        match status {
            400 => Self::bad_request("Bad request."),
            401 => Self::unauthorized(),
            403 => Self::forbidden("Forbidden."),
            404 => Self::not_found("User not found."),
            422 => Self::validation(&[("userId", "is not valid".to_owned())]),
            429 => Self::rate_limit(),
            500 => Self::new(500, "InternalServerError", "Internal server error."),
            503 => Self::new(503, "ServiceUnavailable", "The service is unavailable."),
            status if status < 500 => Self::new(status, "BadRequestError", "Refused."),
            status => Self::new(status, "InternalFailure", "Something failed."),
        }
    }
}
