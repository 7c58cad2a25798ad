//! The progress of a reconcile, as text and as a bar. Pure.

use super::table;
use crate::language::{Language, say, words};
use crate::message::{ReconcileProgress, ReconcileRate};

/// `3 of 5 differences pushed, 1.2 MB of 3.0 MB, 2 of them deletions`.
pub fn of_reconcile(p: &ReconcileProgress) -> String {
    let deletions = match p.deletions {
        0 => String::new(),
        n => say!(", {} of them deletions", n),
    };
    let bytes = bytes(p, Language::current());
    say!("{} of {} differences pushed{}{}", p.done, p.found, bytes, deletions)
}

/// The same with `, 1.2 MB/s, 15.0 s left`, for a line that is drawn again and again.
pub fn with_rate(p: &ReconcileProgress) -> String {
    of_reconcile(p) + &rate(p, Language::current())
}

/// `, 1.2 MB of 3.0 MB`, if files are sent.
pub fn bytes(p: &ReconcileProgress, language: Language) -> String {
    if p.bytes == 0 {
        return String::new();
    }
    let (done, all) = (table::bytes(p.bytes_done.min(p.bytes)), table::bytes(p.bytes));
    language.say(words::OF_BYTES, &[&done, &all])
}

/// `, 1.2 MB/s, 15.0 s left`, as far as known.
pub fn rate(p: &ReconcileProgress, language: Language) -> String {
    p.rate.as_ref().map_or_else(String::new, |rate| of_rate(rate, language))
}

/// The same for any rate.
pub fn of_rate(rate: &ReconcileRate, language: Language) -> String {
    let speed = (rate.bytes_per_s > 0)
        .then(|| language.say(words::PER_SECOND, &[&table::bytes(rate.bytes_per_s)]));
    let left = rate.left_s.map(|s| language.say(words::TIME_LEFT, &[&language.span(s * 1_000)]));
    speed.into_iter().chain(left).collect()
}

/// `[====>     ]`.
pub fn bar(share: f64, width: usize) -> String {
    let full = ((share.clamp(0.0, 1.0) * width as f64) as usize).min(width);
    let mut bar = "=".repeat(full);
    if full < width {
        bar.push('>');
    }
    format!("[{bar:width$}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_shown_as_text_and_bars() {
        let mut p = ReconcileProgress { found: 5, done: 2, deletions: 1, ..Default::default() };
        assert_eq!(of_reconcile(&p), "2 of 5 differences pushed, 1 of them deletions");
        assert_eq!(p.share(), 0.4);
        (p.bytes, p.bytes_done, p.deletions) = (2_000, 3_000, 0);
        assert_eq!(of_reconcile(&p), "2 of 5 differences pushed, 2.0 kB of 2.0 kB");
        assert_eq!(p.share(), 0.7);
        assert_eq!(with_rate(&p), of_reconcile(&p));
        p.rate = Some(ReconcileRate { bytes_per_s: 1_500, left_s: Some(15) });
        assert!(with_rate(&p).ends_with(", 1.5 kB/s, 15.0 s left"), "{}", with_rate(&p));
        p.rate = Some(ReconcileRate::default());
        assert_eq!(with_rate(&p), of_reconcile(&p), "a standstill");
        assert_eq!((bar(0.0, 4), bar(0.5, 4)), ("[>   ]".into(), "[==> ]".into()));
        assert_eq!((bar(1.0, 4), bar(7.0, 4)), ("[====]".into(), "[====]".into()));
    }
}
