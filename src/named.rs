//! Enums whose values have names, as in labels, URLs and the configuration.

/// Declares an enum and the name of each value.
macro_rules! named_values {
    (
        $(#[$meta:meta])*
        pub enum $type:ident { $($(#[$value_meta:meta])* $value:ident = $name:literal,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type { $($(#[$value_meta])* $value,)+ }

        impl $type {
            /// All values.
            pub const ALL: [$type; [$($name),+].len()] = [$($type::$value),+];

            /// The name of the value.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($type::$value => $name,)+
                }
            }
        }
    };
}
pub(crate) use named_values;
