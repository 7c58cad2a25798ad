//! The delete guard: a comparison that would delete too much is held for the operator. Pure.

use crate::config::model::MaxDelete;

/// Below this many deletions the default guard never holds.
const ALWAYS_ALLOWED: u64 = 100;

/// Entries a remote has, from what a dry run says: `files` in the list here, `created` of them missing there, and
/// what is there but not here.
pub fn remote_entries(files: u64, created: u64, deletions: u64) -> u64 {
    files.saturating_sub(created) + deletions
}

/// True when so many deletions on a remote that has `entries` (if that is known) must wait for the operator.
pub fn holds(max: MaxDelete, deletions: u64, entries: Option<u64>) -> bool {
    match max {
        MaxDelete::Unlimited => false,
        MaxDelete::Entries(most) => deletions > most,
        MaxDelete::Half => {
            deletions > ALWAYS_ALLOWED && entries.is_some_and(|entries| deletions > entries / 2)
        }
    }
}

/// What the operator reads.
pub fn words(deletions: u64, entries: Option<u64>, remote: &str) -> String {
    // What is known of the remote may be older than what is there now.
    let of = entries.filter(|n| *n >= deletions).map(|n| format!(" of {n}")).unwrap_or_default();
    format!(
        "would delete {deletions}{of} entries; look with `syncsup release --show {remote}`, then `syncsup release {remote}`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_large_remote_is_held() {
        assert!(!holds(MaxDelete::Half, 100, Some(100)));
        assert!(holds(MaxDelete::Half, 101, Some(150)));
        assert!(!holds(MaxDelete::Half, 101, Some(202)));
        assert!(!holds(MaxDelete::Half, 5_000, None));
        assert!(holds(MaxDelete::Entries(10), 11, None));
        assert!(!holds(MaxDelete::Unlimited, 1_000_000, Some(1_000_000)));
        assert!(words(600, Some(401), "r").starts_with("would delete 600 entries"));
        assert_eq!(
            words(400, Some(401), "r"),
            "would delete 400 of 401 entries; look with `syncsup release --show r`, then `syncsup release r`"
        );
        assert_eq!(remote_entries(100, 90, 50), 60);
    }
}
