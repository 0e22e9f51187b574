//! Which of a network's users are meant where not each is written out.

use std::{fmt, str::FromStr};

use regex_lite::Regex;

/// Who passes: the user that passes every part of it. The default lets all pass.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FilterConfig {
    /// None for users of any status.
    pub status: Option<UserStatus>,
    /// The ids of security groups, each once, one of which the user must be in; empty for any.
    pub groups: Vec<String>,
    /// None for any name.
    pub username: Option<UsernamePattern>,
}

/// How far a user has come into its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UserStatus {
    /// Invited, and not there yet.
    Pending,
    /// There.
    Active,
}

impl UserStatus {
    /// As it is written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            UserStatus::Pending => "pending",
            UserStatus::Active => "active",
        }
    }

    /// As the service writes it.
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

/// A text that is no [`UserStatus`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be \"pending\" or \"active\"")]
pub struct BadStatus;

impl FromStr for UserStatus {
    type Err = BadStatus;

    fn from_str(text: &str) -> Result<Self, BadStatus> {
        let all = [UserStatus::Pending, UserStatus::Active];
        all.into_iter().find(|status| status.as_str() == text).ok_or(BadStatus)
    }
}

/// A regular expression for user names. Two are equal if their texts are.
///
/// It is searched for anywhere in a name: write `^` and `$` to hold it to the name's ends. Case
/// matters unless it begins with `(?i)`. Classes such as `\w` are of ASCII letters and digits.
#[derive(Clone)]
pub struct UsernamePattern(Regex);

impl UsernamePattern {
    /// Whether it is found in `username`.
    pub fn is_match(&self, username: &str) -> bool {
        self.0.is_match(username)
    }

    /// As it was written.
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

/// A text that is no regular expression, and why. It does not repeat the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a regular expression: {0}")]
pub struct BadPattern(regex_lite::Error);

impl FromStr for UsernamePattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        Regex::new(text).map(UsernamePattern).map_err(BadPattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> UsernamePattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_pattern_is_found_anywhere_unless_it_is_anchored() {
        for (text, hit, name) in [
            ("@example", true, "ann@example.com"),
            ("@example$", false, "ann@example.com"),
            (r"^ann@example\.com$", true, "ann@example.com"),
            (r"^ann@example\.com$", false, "joann@example.com"),
            ("ANN", false, "ann@example.com"),
            ("(?i)ANN", true, "ann@example.com"),
            ("é", true, "rené@example.com"),
        ] {
            assert_eq!(pattern(text).is_match(name), hit, "{text} in {name}");
        }
    }

    #[test]
    fn patterns_are_equal_by_their_text() {
        assert_eq!(pattern("a+"), pattern("a+"));
        assert_ne!(pattern("a+"), pattern("aa*"));
        assert_eq!(format!("{:?} {}", pattern("a\\."), pattern("a\\.")), r#""a\\." a\."#);
    }

    #[test]
    fn the_reason_of_a_bad_pattern_is_one_line() {
        for bad in ["(", "[a", "*", r"\p{Greek}", "(?<=x)y", "a{1000}{1000}{1000}"] {
            let reason = bad.parse::<UsernamePattern>().unwrap_err().to_string();
            assert!(reason.starts_with("not a regular expression: "), "{reason}");
            assert!(!reason.contains('\n') && reason.len() < 200, "{reason}");
        }
    }

    #[test]
    fn a_status_has_a_name_and_a_number() {
        for (name, number) in [("pending", 1), ("active", 2)] {
            let status: UserStatus = name.parse().unwrap();
            assert_eq!((status.as_str(), status.as_number()), (name, number));
        }
        assert_eq!("Active".parse::<UserStatus>(), Err(BadStatus));
    }
}
