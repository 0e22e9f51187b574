//! Texts from outside, for people's eyes, in a terminal or on a page.

use crate::text::is_invisible;

/// A text from outside, as people can see all of it: what would steer a terminal, turn the reading
/// direction about or not be seen at all is shown instead of done.
pub(crate) fn visible(text: &str) -> String {
    let first = text.len() - text.trim_start().len();
    let last = text.trim_end().len();
    let mut seen = String::with_capacity(text.len());
    let mut before = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let after = chars.peek().map(|(_, c)| *c);
        let at_an_end = at < first || at >= last;
        if c.is_control() || at_an_end || (is_invisible(c) && !is_part_of_a_sign(before, c, after))
        {
            seen.extend(c.escape_unicode());
        } else {
            seen.push(c);
        }
        before = Some(c);
    }
    seen
}

/// Some signs are made of several that these join or choose the shape of. Beside plain letters, they
/// do nothing but make one text look like another.
fn is_part_of_a_sign(before: Option<char>, c: char, after: Option<char>) -> bool {
    let sign = |c: Option<char>| c.is_some_and(|c| !c.is_ascii() && !c.is_whitespace());
    match c {
        '\u{200d}' => sign(before) && sign(after),
        '\u{fe00}'..='\u{fe0f}' => sign(before) && !before.is_some_and(is_invisible),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_hidden() {
        for hidden in [
            '\u{ad}',
            '\u{61c}',
            '\u{115f}',
            '\u{1160}',
            '\u{180e}',
            '\u{200b}',
            '\u{202e}',
            '\u{2066}',
            '\u{2800}',
            '\u{3164}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{fffb}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{200d}',
            '\u{fe0f}',
            '\u{1b}',
            '\n',
        ] {
            let text = format!("i{hidden}OS");
            assert_eq!(visible(&text), format!("i{}OS", hidden.escape_unicode()));
            assert!(!visible(&hidden.to_string()).contains(hidden), "{hidden:?} alone");
        }
        assert_eq!(visible(" a b\u{a0}"), "\\u{20}a b\\u{a0}");
        assert_eq!(visible("  "), "\\u{20}\\u{20}");
        for plain in ["", "iOS", "é漢", "👩\u{200d}💻", "❤\u{fe0f}", "a b"] {
            assert_eq!(visible(plain), plain);
        }
    }
}
