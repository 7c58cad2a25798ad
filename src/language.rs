//! The language of what people read: English, or Chinese under a zh locale. JSON, logs, and the messages of rsync and of
//! the system are English.
//!
//! [`words`] is the table of what `status` says in both languages. All other messages stand in English where they are
//! said, in a [`say!`] or a [`phrase!`]. Their Chinese is in one table, whose keys are the English texts.

mod messages;
pub mod words;

use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::cell::Cell;
use std::fmt::Display;

thread_local! {
    /// The language of what this thread says.
    static SPOKEN: Cell<Language> = const { Cell::new(Language::English) };
}

/// A language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// In every other locale, and where the charset of a zh locale is not UTF-8.
    #[default]
    English,
    /// In a zh locale.
    Chinese,
}

/// One text in both languages: English, Chinese. [`fill`] replaces each `{}` in it.
pub type Text<'a> = (&'a str, &'a str);

/// What is counted: one and several in English, and what follows the number in Chinese.
pub type Counted = (&'static str, &'static str, &'static str);

impl Language {
    /// The language of LC_ALL, LC_MESSAGES or LANG, the first that is set. `env` looks up a variable.
    pub fn of(env: impl Fn(&str) -> Option<String>) -> Self {
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"]
            .into_iter()
            .filter_map(env)
            .find(|value| !value.is_empty())
            .unwrap_or_default();
        let locale = locale.to_lowercase();
        // The text is UTF-8. A terminal that expects GBK would display neither language.
        let utf8 = locale.split_once('.').is_none_or(|(_, charset)| charset.starts_with("utf"));
        if locale.starts_with("zh") && utf8 { Language::Chinese } else { Language::English }
    }

    /// The language of the locale of this process.
    pub fn of_locale() -> Self {
        Self::of(|name| std::env::var(name).ok())
    }

    /// The language that this thread speaks: English, until it is told to [`Language::speak`] another. So a role is
    /// English, and a command speaks the language of the locale.
    pub fn current() -> Self {
        SPOKEN.get()
    }

    /// From now on, this thread speaks this language.
    pub fn speak(self) {
        SPOKEN.set(self);
    }

    /// What `act` returns when it speaks this language.
    pub fn during<T>(self, act: impl FnOnce() -> T) -> T {
        let before = SPOKEN.replace(self);
        let done = act();
        SPOKEN.set(before);
        done
    }

    /// The text in this language.
    pub fn pick<'a>(self, text: Text<'a>) -> &'a str {
        match self {
            Language::English => text.0,
            Language::Chinese => text.1,
        }
    }

    /// The text in this language, with values.
    pub fn say(self, text: Text<'_>, values: &[&str]) -> String {
        fill(self.pick(text), values)
    }

    /// `1 file`, `2 files`, `2 个文件`.
    pub fn count(self, n: u64, what: Counted) -> String {
        match self {
            Language::English => crate::figures::count(n, what.0, what.1),
            Language::Chinese => format!("{n} {}", what.2),
        }
    }

    /// Milliseconds as in [`crate::figures::span`]: `5 min`, `5 分钟`.
    pub fn span(self, ms: u64) -> String {
        self.unit(crate::figures::span(ms))
    }

    /// Milliseconds in seconds: `0.3 s`, `0.3 秒`.
    pub fn seconds(self, ms: u64) -> String {
        self.unit(crate::figures::seconds(ms))
    }

    fn unit(self, span: String) -> String {
        let units: [Text<'_>; 5] =
            [("ms", "毫秒"), ("s", "秒"), ("min", "分钟"), ("h", "小时"), ("d", "天")];
        let (number, unit) = span.split_once(' ').unwrap_or((&span, ""));
        match units.into_iter().find(|(english, _)| *english == unit) {
            Some(text) => format!("{number} {}", self.pick(text)),
            None => span,
        }
    }
}

/// The number and what is counted, in the language of this thread.
pub fn counted(n: u64, what: Counted) -> String {
    Language::current().count(n, what)
}

/// Values of one kind, in the language of this thread: `a, b`, `a、b`.
pub fn listed<S: Borrow<str>>(values: &[S]) -> String {
    values.join(Language::current().pick(words::BETWEEN))
}

/// A [`phrase!`] in the language of this thread.
pub fn said(phrase: &str) -> String {
    in_language(phrase).to_owned()
}

/// The work of [`say!`].
pub fn say_with(english: &str, values: &[&dyn Display]) -> String {
    fill(in_language(english), values)
}

fn in_language(english: &str) -> &str {
    match Language::current() {
        Language::English => english,
        Language::Chinese => messages::chinese(english).unwrap_or(english),
    }
}

/// A message in the language of this thread: a text in English, and its values in order.
macro_rules! say {
    ($english:literal $(, $value:expr)* $(,)?) => {
        $crate::language::say_with($english, &[$(&$value as &dyn ::std::fmt::Display),*])
    };
}
pub(crate) use say;

/// A text in English, for a table or a constant. [`said`] gives it in the language of the thread that says it.
macro_rules! phrase {
    ($english:literal) => {
        $english
    };
}
pub(crate) use phrase;

/// Replaces each `{}` by one of `values`, in order, and `{2}` by the second of them.
pub fn fill<V: Display>(text: &str, values: &[V]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut next = 0;
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out += before;
        let inside =
            after.split_once('}').filter(|(name, _)| name.bytes().all(|b| b.is_ascii_digit()));
        let Some((name, end)) = inside else {
            out.push('{');
            rest = after;
            continue;
        };
        let at = name.parse::<usize>().map_or(next, |n| n.saturating_sub(1));
        next += usize::from(name.is_empty());
        out += &values.get(at).map(V::to_string).unwrap_or_default();
        rest = end;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_decides() {
        let of = |set: &[(&str, &str)]| {
            let find = |name: &str| set.iter().find(|(n, _)| *n == name);
            Language::of(|name| find(name).map(|(_, value)| (*value).to_owned()))
        };
        for set in [
            &[("LANG", "zh_CN.UTF-8")][..],
            &[("LC_MESSAGES", "zh_CN.utf8"), ("LANG", "C")],
            &[("LC_ALL", ""), ("LANG", "zh_TW")],
        ] {
            assert_eq!(of(set), Language::Chinese, "{set:?}");
        }
        for set in [
            &[][..],
            &[("LANG", "zh_CN.GBK")],
            &[("LC_MESSAGES", "C"), ("LANG", "zh_CN.UTF-8")],
            &[("LC_ALL", "de_DE.UTF-8"), ("LC_MESSAGES", "zh_CN.UTF-8")],
        ] {
            assert_eq!(of(set), Language::English, "{set:?}");
        }
    }

    #[test]
    fn a_thread_says_what_it_is_told_to_speak() {
        let port = || say!("`{}` is not a port; write a number from 1 to 65535", "x");
        assert_eq!(port(), "`x` is not a port; write a number from 1 to 65535");
        assert_eq!(Language::Chinese.during(port), "`x` 不是端口；请填 1 到 65535 之间的数字");
        assert_eq!(Language::current(), Language::English);
        Language::Chinese.speak();
        let other = std::thread::spawn(Language::current).join().unwrap();
        assert_eq!((Language::current(), other), (Language::Chinese, Language::English));
        assert_eq!(said(phrase!("remove it")), "请去掉");
        assert_eq!(counted(2, words::FILES), "2 个文件");
        assert_eq!(listed(&["a", "b"]), "a、b");
    }

    #[test]
    fn figures_have_units_in_both() {
        use Language::{Chinese, English};
        assert_eq!([English.span(7), English.span(90_000)], ["7 ms", "1 min"]);
        assert_eq!([Chinese.span(7), Chinese.span(90_000)], ["7 毫秒", "1 分钟"]);
        assert_eq!([Chinese.span(7_200_000), Chinese.span(864_000_000)], ["2 小时", "10 天"]);
        assert_eq!((English.seconds(100), Chinese.seconds(100)), ("0.1 s".into(), "0.1 秒".into()));
        let files = ("file", "files", "个文件");
        assert_eq!(
            (English.count(1, files), Chinese.count(1, files)),
            ("1 file".into(), "1 个文件".into())
        );
    }

    #[test]
    fn values_are_filled_in_in_order() {
        assert_eq!(fill("a {} b {} c", &["{}", "2"]), "a {} b 2 c");
        assert_eq!(fill::<&str>("nothing {watch: /DIR}", &[]), "nothing {watch: /DIR}");
        assert_eq!(fill("{2} of {1}, {{}", &["a", "b"]), "b of a, {a");
        assert_eq!(Language::Chinese.say(("in {}", "{}后"), &["3"]), "3后");
    }
}
