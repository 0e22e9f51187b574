//! The program: arguments in, the library, an exit status out.

fn main() {}
