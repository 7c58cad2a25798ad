//! The tree of watches: a node is a name and a parent, and a watch descriptor leads to its node. Pure.
//!
//! A rename moves one node. A directory takes about 100 bytes: nodes are in one vector, linked by 32-bit indices, and
//! one hash table for the whole tree finds children by name.

use crate::path::RelPath;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::ffi::OsStrExt;

const NONE: u32 = u32::MAX;

struct Node {
    name: Box<[u8]>,
    parent: u32,
    first: u32,
    next: u32,
    prev: u32,
    /// The next node in its bucket.
    chain: u32,
    wd: i32,
}

/// The result of [`Tree::place`].
#[derive(Debug, PartialEq, Eq)]
pub enum Placed {
    /// The watch was already at this name.
    Same,
    /// The watch is new. `dropped` are the watches of what the tree had at this name before.
    New {
        /// Watches to remove from the queue.
        dropped: Vec<i32>,
    },
    /// The watch was at another place in the tree, and has moved to this name with everything below it.
    Moved {
        /// Its old path; `None` if it was detached.
        from: Option<RelPath>,
        /// Watches to remove from the queue.
        dropped: Vec<i32>,
    },
    /// The parent is not in the tree, or lies below the directory itself, because the tree does not yet match the file
    /// system.
    Nowhere,
}

/// Watched directories by watch descriptor, and their names.
pub struct Tree {
    nodes: Vec<Node>,
    free: Vec<u32>,
    by_wd: HashMap<i32, u32>,
    buckets: Vec<u32>,
    hasher: RandomState,
    root: u32,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            free: Vec::new(),
            by_wd: HashMap::new(),
            buckets: vec![NONE; 16],
            hasher: RandomState::new(),
            root: NONE,
        }
    }
}

impl Tree {
    /// Forgets everything. `wd` becomes the root.
    pub fn start(&mut self, wd: i32) {
        *self = Self::default();
        self.root = self.allocate(b"", wd);
    }

    /// The root's watch.
    pub fn root(&self) -> Option<i32> {
        (self.root != NONE).then(|| self.nodes[self.root as usize].wd)
    }

    /// The number of directories in the tree, including detached ones.
    pub fn count(&self) -> usize {
        self.by_wd.len()
    }

    /// True if the watch is in the tree, even if it is detached.
    pub fn contains(&self, wd: i32) -> bool {
        self.by_wd.contains_key(&wd)
    }

    /// Every watch.
    pub fn wds(&self) -> Vec<i32> {
        self.by_wd.keys().copied().collect()
    }

    /// The path of a watched directory; `None` if it is unknown or detached.
    pub fn path(&self, wd: i32) -> Option<RelPath> {
        let start = *self.by_wd.get(&wd)?;
        if start == self.root {
            return Some(RelPath::root());
        }
        let (mut at, mut length) = (start, 0);
        while at != self.root {
            let node = self.nodes.get(at as usize)?;
            length += node.name.len() + 1;
            at = node.parent;
        }
        let mut bytes = vec![b'/'; length - 1];
        let (mut at, mut end) = (start, length - 1);
        while at != self.root {
            let node = &self.nodes[at as usize];
            bytes[end - node.name.len()..end].copy_from_slice(&node.name);
            end = (end - node.name.len()).saturating_sub(1);
            at = node.parent;
        }
        RelPath::new(bytes)
    }

    /// The watch of a name in a watched directory.
    pub fn child(&self, parent: i32, name: &OsStr) -> Option<i32> {
        let parent = *self.by_wd.get(&parent)?;
        let found = self.lookup(parent, name.as_bytes());
        (found != NONE).then(|| self.nodes[found as usize].wd)
    }

    /// The watch of a path.
    pub fn find(&self, path: &RelPath) -> Option<i32> {
        let mut at = self.root()?;
        if path.is_root() {
            return Some(at);
        }
        for name in path.as_bytes().split(|&b| b == b'/') {
            at = self.child(at, OsStr::from_bytes(name))?;
        }
        Some(at)
    }

    /// The topmost directory above `wd`: the root, or a detached directory.
    pub fn top(&self, wd: i32) -> Option<i32> {
        let mut at = *self.by_wd.get(&wd)?;
        while self.nodes[at as usize].parent != NONE {
            at = self.nodes[at as usize].parent;
        }
        Some(self.nodes[at as usize].wd)
    }

    /// Records that the directory with watch `wd` is at `name` in `parent`.
    pub fn place(&mut self, parent: i32, name: &OsStr, wd: i32) -> Placed {
        let Some(&parent) = self.by_wd.get(&parent) else { return Placed::Nowhere };
        let there = self.lookup(parent, name.as_bytes());
        if there != NONE && self.nodes[there as usize].wd == wd {
            return Placed::Same;
        }
        let known = self.by_wd.get(&wd).copied();
        if known.is_some_and(|node| self.is_above(node, parent)) {
            return Placed::Nowhere;
        }
        let from = self.path(wd);
        if let Some(node) = known {
            // Remove it from its old place first, because that may lie below what is dropped.
            self.unlink(node);
        }
        let dropped =
            if there == NONE { Vec::new() } else { self.remove(self.nodes[there as usize].wd) };
        match known {
            Some(node) => {
                self.nodes[node as usize].name = name.as_bytes().into();
                self.link(node, parent);
                Placed::Moved { from, dropped }
            }
            None => {
                let node = self.allocate(name.as_bytes(), wd);
                self.link(node, parent);
                Placed::New { dropped }
            }
        }
    }

    /// Removes a directory from its place, with everything below it, but keeps the watches.
    pub fn detach(&mut self, wd: i32) {
        if let Some(&node) = self.by_wd.get(&wd)
            && node != self.root
        {
            self.unlink(node);
        }
    }

    /// Removes a directory and everything below it. Returns the watches.
    pub fn remove(&mut self, wd: i32) -> Vec<i32> {
        let Some(&top) = self.by_wd.get(&wd) else { return Vec::new() };
        self.unlink(top);
        let (mut wds, mut stack) = (Vec::new(), vec![top]);
        while let Some(at) = stack.pop() {
            let mut child = self.nodes[at as usize].first;
            while child != NONE {
                stack.push(child);
                child = self.nodes[child as usize].next;
            }
            if at != top {
                self.unchain(at);
            }
            let node = &mut self.nodes[at as usize];
            node.name = Box::default();
            (node.parent, node.first, node.next, node.prev) = (NONE, NONE, NONE, NONE);
            self.by_wd.remove(&node.wd);
            wds.push(node.wd);
            self.free.push(at);
        }
        if top == self.root {
            self.root = NONE;
        }
        wds
    }

    fn is_above(&self, node: u32, mut below: u32) -> bool {
        while below != NONE {
            if below == node {
                return true;
            }
            below = self.nodes[below as usize].parent;
        }
        false
    }

    fn allocate(&mut self, name: &[u8], wd: i32) -> u32 {
        let node = Node {
            name: name.into(),
            parent: NONE,
            first: NONE,
            next: NONE,
            prev: NONE,
            chain: NONE,
            wd,
        };
        let at = match self.free.pop() {
            Some(at) => {
                self.nodes[at as usize] = node;
                at
            }
            None => {
                self.nodes.push(node);
                // The kernel's limit on watches is below 2^31.
                (self.nodes.len() - 1) as u32
            }
        };
        self.by_wd.insert(wd, at);
        at
    }

    fn bucket(&self, parent: u32, name: &[u8]) -> usize {
        self.hasher.hash_one((parent, name)) as usize & (self.buckets.len() - 1)
    }

    fn lookup(&self, parent: u32, name: &[u8]) -> u32 {
        let mut at = self.buckets[self.bucket(parent, name)];
        while at != NONE {
            let node = &self.nodes[at as usize];
            if node.parent == parent && *node.name == *name {
                return at;
            }
            at = node.chain;
        }
        NONE
    }

    /// Links a node that has a name, but no parent, below `parent`.
    fn link(&mut self, at: u32, parent: u32) {
        let next = std::mem::replace(&mut self.nodes[parent as usize].first, at);
        if next != NONE {
            self.nodes[next as usize].prev = at;
        }
        let node = &mut self.nodes[at as usize];
        (node.parent, node.next, node.prev) = (parent, next, NONE);
        if self.by_wd.len() > self.buckets.len() {
            self.grow();
        } else {
            self.chain(at);
        }
    }

    fn unlink(&mut self, at: u32) {
        let Node { parent, next, prev, .. } = self.nodes[at as usize];
        if parent == NONE {
            return;
        }
        self.unchain(at);
        if prev == NONE {
            self.nodes[parent as usize].first = next;
        } else {
            self.nodes[prev as usize].next = next;
        }
        if next != NONE {
            self.nodes[next as usize].prev = prev;
        }
        let node = &mut self.nodes[at as usize];
        (node.parent, node.next, node.prev) = (NONE, NONE, NONE);
    }

    fn chain(&mut self, at: u32) {
        let node = &self.nodes[at as usize];
        let bucket = self.bucket(node.parent, &node.name);
        self.nodes[at as usize].chain = std::mem::replace(&mut self.buckets[bucket], at);
    }

    fn unchain(&mut self, at: u32) {
        let node = &self.nodes[at as usize];
        let (bucket, after) = (self.bucket(node.parent, &node.name), node.chain);
        let mut link = self.buckets[bucket];
        if link == at {
            self.buckets[bucket] = after;
            return;
        }
        while link != NONE {
            let next = self.nodes[link as usize].chain;
            if next == at {
                self.nodes[link as usize].chain = after;
                return;
            }
            link = next;
        }
    }

    fn grow(&mut self) {
        self.buckets = vec![NONE; self.buckets.len() * 2];
        for at in 0..self.nodes.len() as u32 {
            if self.nodes[at as usize].parent != NONE {
                self.chain(at);
            }
        }
    }
}

#[cfg(test)]
mod tests;
