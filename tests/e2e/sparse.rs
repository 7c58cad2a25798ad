//! A file with holes takes no more room on a slave than here, where the slave lets it.

use crate::common::rsyncd::Options;
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::{Setup, World};
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};

const SIZE: u64 = 48 << 20;

fn world(params: &'static str, module_lines: &str) -> World {
    let daemon = Options { module_lines: module_lines.to_owned(), ..Options::default() };
    // One goes among others, one apart.
    Setup { params, daemon, settings: "large_file: 40MiB\n", ..Setup::default() }.start()
}

/// Two files with holes; the room that each takes there.
fn taken(w: &World) -> [u64; 2] {
    let files = [("small", SIZE / 2), ("large", SIZE)];
    for (name, size) in files {
        let hidden = w.outside.join(name);
        let file = File::create(&hidden).unwrap();
        file.set_len(size).unwrap();
        file.write_all_at(b"content", size / 2).unwrap();
        assert!(file.metadata().unwrap().blocks() * 512 < size / 2, "no holes here");
        std::fs::rename(hidden, w.at(name)).unwrap();
    }
    w.wait_identical();
    files.map(|(name, _)| w.there(name).metadata().unwrap().blocks() * 512)
}

#[test]
fn holes_in_sparse_files_stay_holes() {
    let w = world("-a", "");
    assert!(taken(&w).iter().all(|room| *room < 4 << 20), "{:?}", taken(&w));
}

#[test]
fn where_sparse_is_refused_or_off_the_file_is_sent_whole() {
    for (params, lines) in
        [("-a", "refuse options = sparse\n"), ("-a --no-sparse", ""), ("-a --inplace", "")]
    {
        let w = world(params, lines);
        let room = taken(&w);
        assert!(room[0] >= SIZE / 2 && room[1] >= SIZE, "{params} {lines}: {room:?}");
        w.write("next", "x");
        wait_for("the next file", DEADLINE, || w.there("next").exists());
    }
}
