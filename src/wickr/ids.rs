//! Validated ids of networks and users, in numeric order.

use std::{fmt, str::FromStr};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $min:literal to $max:literal, $shape:literal) => {
        $(#[$doc])*
        // Numeric order, because a shorter id is smaller: `len` must be the first field.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            len: u8,
            /// Zeros follow.
            digits: [u8; $max],
        }

        impl $name {
            /// The digits.
            pub fn as_str(&self) -> &str {
                let digits = self.digits.get(..usize::from(self.len)).unwrap_or_default();
                std::str::from_utf8(digits).unwrap_or_default()
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let bad = BadId { what: $what, shape: $shape };
                let len = u8::try_from(text.len()).map_err(|_| bad)?;
                if !($min..=$max).contains(&len) || !text.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(bad);
                }
                let mut digits = [0; $max];
                digits[..text.len()].copy_from_slice(text.as_bytes());
                Ok(Self { len, digits })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

id!(
    /// A network id: exactly 8 digits, by the service model.
    NetworkId,
    "network id",
    8 to 8,
    "exactly 8 digits"
);

id!(
    /// A user id: 1 to 10 digits, by the service model.
    UserId,
    "user id",
    1 to 10,
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
