use super::*;

fn place(tree: &mut Tree, parent: i32, name: &str, wd: i32) -> Placed {
    tree.place(parent, OsStr::new(name), wd)
}

fn path(tree: &Tree, wd: i32) -> Option<String> {
    tree.path(wd).map(|p| p.to_string())
}

/// root 1, a 2, a/b 3, a/b/c 4
fn sample() -> Tree {
    let mut tree = Tree::default();
    tree.start(1);
    for (parent, name, wd) in [(1, "a", 2), (2, "b", 3), (3, "c", 4)] {
        assert_eq!(place(&mut tree, parent, name, wd), Placed::New { dropped: vec![] });
    }
    tree
}

#[test]
fn a_rename_moves_everything_below() {
    let mut tree = sample();
    assert_eq!(path(&tree, 4).unwrap(), "a/b/c");
    let from = tree.path(3);
    assert_eq!(place(&mut tree, 1, "x", 3), Placed::Moved { from, dropped: vec![] });
    assert_eq!(path(&tree, 4).unwrap(), "x/c");
    assert_eq!(tree.find(&RelPath::new("x/c").unwrap()), Some(4));
    assert_eq!(tree.find(&RelPath::new("a/b").unwrap()), None);
    assert_eq!(place(&mut tree, 1, "x", 3), Placed::Same);
}

#[test]
fn a_replaced_entry_is_dropped_with_everything_below() {
    let mut tree = sample();
    let Placed::New { mut dropped } = place(&mut tree, 1, "a", 9) else { panic!() };
    dropped.sort_unstable();
    assert_eq!(dropped, [2, 3, 4]);
    assert_eq!(tree.count(), 2);
    assert_eq!(tree.find(&RelPath::new("a").unwrap()), Some(9));
}

#[test]
fn a_directory_replaces_one_of_its_ancestors() {
    let mut tree = sample();
    let Placed::Moved { dropped, .. } = place(&mut tree, 1, "a", 4) else { panic!() };
    assert_eq!(dropped.len(), 2);
    assert_eq!(path(&tree, 4).unwrap(), "a");
    assert_eq!(place(&mut tree, 4, "loop", 4), Placed::Nowhere);
    assert_eq!(place(&mut tree, 77, "x", 5), Placed::Nowhere);
}

#[test]
fn detached_directories_have_no_path_until_they_are_placed() {
    let mut tree = sample();
    tree.detach(3);
    assert_eq!((path(&tree, 3), path(&tree, 4)), (None, None));
    assert_eq!(tree.top(4), Some(3));
    assert_eq!(place(&mut tree, 1, "y", 3), Placed::Moved { from: None, dropped: vec![] });
    assert_eq!(path(&tree, 4).unwrap(), "y/c");
}

#[test]
fn many_children_are_added_and_removed() {
    let mut tree = Tree::default();
    tree.start(0);
    for wd in 1..5_000 {
        place(&mut tree, wd / 3, &format!("n{wd}"), wd);
    }
    for wd in 1..5_000 {
        assert_eq!(tree.child(wd / 3, OsStr::new(&format!("n{wd}"))), Some(wd));
        assert_eq!(tree.find(&tree.path(wd).unwrap()), Some(wd));
    }
    let mut removed = 0;
    for wd in 1..5_000 {
        if wd % 7 == 0 {
            removed += tree.remove(wd).len();
        }
    }
    assert_eq!(tree.count(), 5_000 - removed);
    for wd in tree.wds() {
        assert_eq!(tree.find(&tree.path(wd).unwrap()), Some(wd));
    }
}
