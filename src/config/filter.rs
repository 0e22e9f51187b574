//! Filters for `users = "all"`.

use std::{fmt, str::FromStr};

use regex_lite::Regex;

use crate::named::named_values;

/// A user must match every part. The default matches all users.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FilterConfig {
    /// `None` for any status.
    pub status: Option<UserStatus>,
    /// Security group ids, each once. A user must be in one of them; empty for any group.
    pub groups: Vec<String>,
    /// `None` for any username.
    pub username: Option<UsernamePattern>,
}

named_values! {
    /// The status of a user.
    #[derive(Hash)]
    pub enum UserStatus {
        /// Invited, but not active yet.
        Pending = "pending",
        /// Has joined the network.
        Active = "active",
    }
}

impl UserStatus {
    /// The value in the API.
    pub fn as_number(self) -> u8 {
        match self {
            UserStatus::Pending => 1,
            UserStatus::Active => 2,
        }
    }
}

impl fmt::Display for UserStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for UserStatus {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let found = UserStatus::ALL.into_iter().find(|status| status.as_str() == text);
        found.ok_or(r#"must be "pending" or "active""#)
    }
}

/// A regular expression for usernames, not anchored. Case-sensitive unless it starts with `(?i)`.
/// Classes such as `\w` are ASCII only. Patterns with equal text are equal.
#[derive(Clone)]
pub struct UsernamePattern(Regex);

impl UsernamePattern {
    /// Whether it matches anywhere in `username`.
    pub fn is_match(&self, username: &str) -> bool {
        self.0.is_match(username)
    }

    /// The pattern in the configuration.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for UsernamePattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for UsernamePattern {}

impl fmt::Display for UsernamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for UsernamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl FromStr for UsernamePattern {
    type Err = String;

    /// The error does not contain `text`.
    fn from_str(text: &str) -> Result<Self, String> {
        Regex::new(text)
            .map(UsernamePattern)
            .map_err(|error| format!("not a regular expression: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> UsernamePattern {
        text.parse().unwrap()
    }

    #[test]
    fn matches_anywhere_unless_anchored() {
        for (text, matches, name) in [
            ("@example", true, "ann@example.com"),
            ("@example$", false, "ann@example.com"),
            (r"^ann@example\.com$", true, "ann@example.com"),
            (r"^ann@example\.com$", false, "joann@example.com"),
            ("ANN", false, "ann@example.com"),
            ("(?i)ANN", true, "ann@example.com"),
            ("é", true, "rené@example.com"),
        ] {
            assert_eq!(pattern(text).is_match(name), matches, "{text} in {name}");
        }
    }

    #[test]
    fn compares_patterns_by_text() {
        assert_eq!(pattern("a+"), pattern("a+"));
        assert_ne!(pattern("a+"), pattern("aa*"));
        assert_eq!(format!("{:?} {}", pattern("a\\."), pattern("a\\.")), r#""a\\." a\."#);
    }

    #[test]
    fn describes_an_invalid_pattern_in_one_line() {
        for bad in ["(", "[a", "*", r"\p{Greek}", "(?<=x)y", "a{1000}{1000}{1000}"] {
            let reason = bad.parse::<UsernamePattern>().unwrap_err();
            assert!(reason.starts_with("not a regular expression: "), "{reason}");
            assert!(!reason.contains('\n') && reason.len() < 200, "{reason}");
        }
    }

    #[test]
    fn converts_statuses_to_names_and_numbers() {
        for (name, number) in [("pending", 1), ("active", 2)] {
            let status: UserStatus = name.parse().unwrap();
            assert_eq!((status.as_str(), status.as_number()), (name, number));
        }
        assert!("Active".parse::<UserStatus>().is_err());
    }
}
