//! What `examples/` ships, run: its files are copied with loopback addresses, free ports and temporary directories in
//! place of the documentation's, and nothing else changed; then real rsync daemons and the real program play them.

mod kit;

mod ansible;
mod cdn;
mod deploy;
mod nfs_master;
mod prometheus;
mod two_tiers;
mod web_farm;

/// Each directory explains itself, and has a test here.
#[test]
fn every_example_has_a_readme_and_a_check() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for entry in std::fs::read_dir(root.join("examples")).unwrap().map(|e| e.unwrap().path()) {
        if !entry.is_dir() {
            continue;
        }
        let name = entry.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(entry.join("README.md").is_file(), "{name}");
        let check = format!("tests/examples/{}.rs", name.replace('-', "_"));
        assert!(root.join(&check).is_file(), "{check}");
        seen += 1;
    }
    assert_eq!(seen, 7);
}
