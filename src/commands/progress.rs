//! The progress of a reconcile, as text and as a bar. Pure.

use super::table;
use crate::message::ReconcileProgress;

/// `3 of 5 differences pushed, 1.2 MB of 3.0 MB, 2 of them deletions`.
pub fn of_reconcile(p: &ReconcileProgress) -> String {
    let bytes = match p.bytes {
        0 => String::new(),
        all => format!(", {} of {}", table::bytes(p.bytes_done.min(all)), table::bytes(all)),
    };
    let deletions = match p.deletions {
        0 => String::new(),
        n => format!(", {n} of them deletions"),
    };
    format!("{} of {} differences pushed{bytes}{deletions}", p.done, p.found)
}

/// The share that is done. It is counted in bytes if there are many, because files differ in size.
pub fn share(p: &ReconcileProgress) -> f64 {
    let of = |done: u64, all: u64| (done.min(all) as f64) / (all.max(1) as f64);
    let paths = of(p.done, p.found);
    if p.bytes == 0 { paths } else { (paths + of(p.bytes_done, p.bytes)) / 2.0 }
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
        assert_eq!(share(&p), 0.4);
        (p.bytes, p.bytes_done, p.deletions) = (2_000, 3_000, 0);
        assert_eq!(of_reconcile(&p), "2 of 5 differences pushed, 2.0 kB of 2.0 kB");
        assert_eq!(share(&p), 0.7);
        assert_eq!((bar(0.0, 4), bar(0.5, 4)), ("[>   ]".into(), "[==> ]".into()));
        assert_eq!((bar(1.0, 4), bar(7.0, 4)), ("[====]".into(), "[====]".into()));
    }
}
