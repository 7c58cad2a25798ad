//! Chooses the connection that is closed for a new one when the limit is reached. Pure.
//!
//! A connection that has sent its request is answered within milliseconds. So all connections that stay open are slow,
//! by mistake or on purpose. The oldest connection of the address that has the most is closed: a stranger that holds
//! hundreds open keeps out only itself.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Guest<H> {
    number: u64,
    from: IpAddr,
    /// Closes the connection.
    handle: H,
}

/// The open connections, the oldest first.
#[derive(Debug)]
pub struct Crowd<H> {
    most: usize,
    next: u64,
    guests: VecDeque<Guest<H>>,
}

impl<H> Crowd<H> {
    /// An empty crowd of at most `most` connections.
    pub fn new(most: usize) -> Self {
        Self { most, next: 0, guests: VecDeque::new() }
    }

    /// The number of the next connection.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Adds a new connection, whose number is [`Crowd::next`]. Returns the connection that must be closed for it.
    #[must_use]
    pub fn enter(&mut self, from: IpAddr, handle: H) -> Option<H> {
        self.guests.push_back(Guest { number: self.next, from, handle });
        self.next += 1;
        if self.guests.len() <= self.most {
            return None;
        }
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        // The new connection is counted, but is not a candidate.
        for guest in &self.guests {
            *counts.entry(guest.from).or_default() += 1;
        }
        let old = self.guests.len() - 1;
        let of = |n: &usize| counts.get(&self.guests[*n].from).copied().unwrap_or(0);
        // Among equals the first one is chosen: the oldest.
        let victim = (0..old).rev().max_by_key(of)?;
        self.guests.remove(victim).map(|guest| guest.handle)
    }

    /// The connection of this number has closed.
    pub fn leave(&mut self, number: u64) {
        self.guests.retain(|guest| guest.number != number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn the_oldest_connection_of_the_busiest_address_is_closed() {
        let mut crowd = Crowd::new(4);
        for (address, handle) in [(1, 'a'), (2, 'b'), (2, 'c'), (3, 'd')] {
            assert_eq!(crowd.enter(from(address), handle), None);
        }
        assert_eq!(crowd.enter(from(3), 'e'), Some('b'), "2 and 3 have two each; b is the oldest");
        assert_eq!(crowd.enter(from(4), 'f'), Some('d'));
        assert_eq!(crowd.enter(from(4), 'g'), Some('f'), "never the new one");
        assert_eq!(crowd.enter(from(1), 'h'), Some('a'));
    }

    #[test]
    fn a_closed_connection_frees_its_place() {
        let mut crowd = Crowd::new(1);
        let first = crowd.next();
        assert_eq!(crowd.enter(from(1), 'a'), None);
        crowd.leave(first);
        assert_eq!(crowd.enter(from(1), 'b'), None);
        crowd.leave(first);
        assert_eq!(crowd.enter(from(1), 'c'), Some('b'));
    }
}
