//! Validated ids of networks and users, in numeric order.

use std::{cmp::Ordering, fmt, str::FromStr, sync::Arc};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $len:pat, $shape:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The digits.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                match text.len() {
                    $len if text.bytes().all(|b| b.is_ascii_digit()) => Ok(Self(text.into())),
                    _ => Err(BadId { what: $what, shape: $shape }),
                }
            }
        }

        // Numeric order: a shorter id is smaller.
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                self.0.len().cmp(&other.0.len()).then_with(|| self.0.cmp(&other.0))
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// A network id: exactly 8 digits, by the service model.
    NetworkId,
    "network id",
    8,
    "exactly 8 digits"
);

id!(
    /// A user id: 1 to 10 digits, by the service model.
    UserId,
    "user id",
    1..=10,
    "1 to 10 digits"
);

/// An invalid id. The message does not contain the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a {what} is {shape}")]
pub struct BadId {
    what: &'static str,
    shape: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_only_ascii_digits_of_the_documented_length() {
        assert!("12345678".parse::<NetworkId>().is_ok());
        for bad in ["", "1234567", "123456789", "1234567a", "１２３４５６７８", "12 45678"]
        {
            assert!(bad.parse::<NetworkId>().is_err(), "{bad:?}");
        }
        assert!("1".parse::<UserId>().is_ok());
        assert!("1234567890".parse::<UserId>().is_ok());
        for bad in ["", "12345678901", "-1", "1.0"] {
            assert!(bad.parse::<UserId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sorts_numerically() {
        let mut ids: Vec<UserId> =
            ["10", "9", "100", "1"].iter().map(|s| s.parse().unwrap()).collect();
        ids.sort();
        assert_eq!(ids.iter().map(UserId::as_str).collect::<Vec<_>>(), ["1", "9", "10", "100"]);
    }
}
