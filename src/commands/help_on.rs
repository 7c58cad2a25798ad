//! `syncsup help TOPIC`: prints the section of docs/troubleshooting.md that a message names.

use super::print;
use crate::error::{Exit, Result};
use crate::help_topic::HelpTopic;
use crate::language::Language;

const ENGLISH: &str = include_str!("../../docs/troubleshooting.md");
const CHINESE: &str = include_str!("../../docs/zh/troubleshooting.md");

/// Prints the section.
pub fn run(topic: HelpTopic) -> Result<Exit> {
    let page = Language::current().pick((ENGLISH, CHINESE));
    print(&plain(section(page, topic)));
    Ok(Exit::Ok)
}

/// From the topic's anchor to the next one, or to the end of the chapter. Empty if the page has no such anchor: a test
/// holds both pages equal to the topics.
fn section(page: &str, topic: HelpTopic) -> &str {
    let anchor = format!("<a id=\"{}\"></a>", topic.anchor());
    let (_, rest) = page.split_once(&anchor).unwrap_or_default();
    let end = ["\n<a id=", "\n## "].into_iter().filter_map(|next| rest.find(next)).min();
    rest[..end.unwrap_or(rest.len())].trim()
}

/// Without the marks of Markdown that only disturb in a terminal.
fn plain(section: &str) -> String {
    let line = |line: &str| line.trim_start_matches("### ").replace("**", "") + "\n";
    section.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_has_a_section_that_says_what_to_do() {
        for topic in HelpTopic::ALL {
            for (page, what) in [(ENGLISH, "\nDo: "), (CHINESE, "\n处理：")] {
                let text = plain(section(page, *topic));
                assert!(text.contains(what), "{topic:?}: {text}");
                assert!(!text.contains("<a id") && !text.contains("\n## "), "{topic:?}: {text}");
            }
        }
    }

    #[test]
    fn a_section_ends_before_the_next_one() {
        let page = "<a id=\"guard\"></a>\n\n### Held\n\n**Do:** this.\n\n## Next\n\n<a id=\"broken\"></a>\nb\n";
        assert_eq!(plain(section(page, HelpTopic::Guard)), "Held\n\nDo: this.\n");
        assert_eq!(section(page, HelpTopic::Broken), "b");
    }
}
