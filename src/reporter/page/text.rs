//! Text from outside on the page. Pure.

use crate::path::as_written;
use maud::Render;

/// Text that a browser cannot take for markup, and that cannot change the direction of writing. Every text from outside
/// goes through it, in content and in attributes.
pub struct Text<T>(pub T);

impl<T: AsRef<str>> Render for Text<T> {
    fn render_to(&self, out: &mut String) {
        for c in as_written(self.0.as_ref().as_bytes()).chars() {
            match c {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '"' => out.push_str("&quot;"),
                '\'' => out.push_str("&#39;"),
                c => out.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_invisible_characters_are_escaped() {
        let hostile = "<b a='1' c=\"2\">&\n\u{202e}\u{200b}\u{7f}中";
        let text = Text(hostile).render().into_string();
        let wanted = "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;\\x0a";
        assert!(text.starts_with(wanted) && text.ends_with('中'), "{text}");
        assert!(!text.contains(['\u{202e}', '\u{200b}', '\u{7f}', '\n']), "{text}");
    }
}
