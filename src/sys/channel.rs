//! A control channel: whole messages, with descriptors, over a SEQPACKET socket. Never blocks.

use crate::message::Role;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg,
    socketpair, sockopt::socket_type,
};
use rustix::stdio::stdin;
use serde::{Serialize, de::DeserializeOwned};
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The payload of a packet; a longer message is sent in several packets.
const PACKET: usize = 48 << 10;
/// Descriptors in one packet (the kernel allows 253).
const FDS: usize = 64;
/// The most bytes of one message, and of all messages that wait to be sent. The longest are a snapshot of the status and the
/// start of a watcher: a hundred bytes and some for each of ten thousand remotes.
const BYTES_MAX: usize = if cfg!(test) { 4 << 20 } else { 64 << 20 };
/// The most descriptors of one message: a watcher gets one for each remote.
const FDS_MAX: usize = 64 << 10;
const LAST: u8 = 0;
const MORE: u8 = 1;

/// One end: sends `Out`, receives `In`.
pub struct Channel<Out, In> {
    socket: OwnedFd,
    unsent: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
    unsent_bytes: usize,
    partial: Vec<u8>,
    fds: Vec<OwnedFd>,
    types: PhantomData<(Out, In)>,
}

/// The result of a receive.
pub enum Received<In> {
    /// A whole message and the descriptors that came with it.
    Message(In, Vec<OwnedFd>),
    /// No message yet.
    Nothing,
    /// The other end is closed.
    Closed,
}

/// Two connected sockets: the supervisor's end and the child's.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?)
}

/// The start of the packet that tells a process of this program its role.
const ROLE: &[u8] = b"syncsup role ";

/// A [`pair`] for a child in this role; the role is already sent.
pub fn pair_for(role: Role) -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = pair()?;
    send(&ours, &[ROLE, role.word().as_bytes()].concat(), SendFlags::NOSIGNAL)?;
    Ok((ours, theirs))
}

/// The role that this process was started in, from the packet that waits on standard input. `None` when a user started
/// it.
pub fn role() -> Option<Role> {
    role_on(stdin())
}

fn role_on(fd: BorrowedFd<'_>) -> Option<Role> {
    if socket_type(fd).ok()? != SocketType::SEQPACKET {
        return None;
    }
    let mut packet = [0u8; 64];
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    let (length, _) = recv(fd, packet.as_mut_slice(), flags).ok()?;
    let role = Role::from_word(packet[..length].strip_prefix(ROLE)?)?;
    recv(fd, packet.as_mut_slice(), RecvFlags::DONTWAIT).ok()?;
    Some(role)
}

impl<Out: Serialize, In: DeserializeOwned> Channel<Out, In> {
    /// Makes a channel from one end of a [`pair`].
    pub fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            partial: Vec::new(),
            fds: Vec::new(),
            types: PhantomData,
        }
    }

    /// Sends a message, or queues what the socket does not take now; call [`Channel::flush`] when it is writable. An error
    /// when the peer has left too much unread.
    pub fn send(&mut self, message: &Out, fds: Vec<OwnedFd>) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        let mut chunks = bytes.chunks(PACKET);
        let mut fds = fds.into_iter();
        let packets = chunks.len().max(fds.len().div_ceil(FDS)).max(1);
        for left in (0..packets).rev() {
            let mut packet = vec![if left > 0 { MORE } else { LAST }];
            packet.extend_from_slice(chunks.next().unwrap_or_default());
            self.unsent_bytes += packet.len();
            self.unsent.push_back((packet, fds.by_ref().take(FDS).collect()));
        }
        self.flush()?;
        match self.unsent_bytes > BYTES_MAX {
            true => Err(io::Error::other("the other end does not read its messages")),
            false => Ok(()),
        }
    }

    /// True while queued data waits for the socket to become writable.
    pub fn wants_write(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Sends queued data, as much as the socket takes.
    pub fn flush(&mut self) -> io::Result<()> {
        while let Some((packet, fds)) = self.unsent.front() {
            let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !borrowed.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
                return Err(io::Error::other("too many descriptors in one packet"));
            }
            match sendmsg(&self.socket, &[IoSlice::new(packet)], &mut control, SendFlags::NOSIGNAL)
            {
                Ok(_) => {
                    self.unsent_bytes -= packet.len();
                    drop(self.unsent.pop_front());
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// The next message, if one has arrived. An error when it is no message, or too long for one.
    pub fn receive(&mut self) -> io::Result<Received<In>> {
        let mut buffer = vec![0; PACKET + 1];
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let got = recvmsg(
                &self.socket,
                &mut [IoSliceMut::new(&mut buffer)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            );
            let length = match got {
                Ok(message) => message.bytes,
                Err(Errno::AGAIN) => return Ok(Received::Nothing),
                Err(Errno::INTR) => continue,
                Err(Errno::CONNRESET) => return Ok(Received::Closed),
                Err(e) => return Err(e.into()),
            };
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(fds) = message {
                    self.fds.extend(fds);
                }
            }
            if length == 0 {
                return Ok(Received::Closed);
            }
            self.partial.extend_from_slice(&buffer[1..length]);
            if self.partial.len() > BYTES_MAX || self.fds.len() > FDS_MAX {
                return Err(io::Error::other("a message without end"));
            }
            if buffer[0] == LAST {
                let message = serde_json::from_slice(&self.partial)?;
                self.partial.clear();
                return Ok(Received::Message(message, std::mem::take(&mut self.fds)));
            }
        }
    }
}

impl<Out, In> AsFd for Channel<Out, In> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_role_is_the_first_message() {
        for role in [Role::Supervisor, Role::Pusher, Role::Sync] {
            let (ours, theirs) = pair_for(role).unwrap();
            let mut ours: Channel<u8, ()> = Channel::new(ours);
            ours.send(&7, vec![]).unwrap();
            assert_eq!(role_on(theirs.as_fd()), Some(role));
            assert_eq!(role_on(theirs.as_fd()), None);
            let mut theirs: Channel<(), u8> = Channel::new(theirs);
            assert!(matches!(theirs.receive(), Ok(Received::Message(7, _))));
        }
        // The peer has already exited.
        let (ours, theirs) = pair_for(Role::Sync).unwrap();
        drop(ours);
        assert_eq!(role_on(theirs.as_fd()), Some(Role::Sync));
    }

    #[test]
    fn a_process_started_by_a_user_has_no_role() {
        let (ours, theirs) = pair().unwrap();
        assert_eq!(role_on(theirs.as_fd()), None, "nothing waits");
        send(&ours, b"syncsup role king", SendFlags::NOSIGNAL).unwrap();
        assert_eq!(role_on(theirs.as_fd()), None);
        let (a, mut b) = std::os::unix::net::UnixStream::pair().unwrap();
        b.write_all(b"syncsup role watcher").unwrap();
        assert_eq!(role_on(a.as_fd()), None, "a stream");
        assert_eq!(role_on(std::fs::File::open("/dev/null").unwrap().as_fd()), None);
    }

    #[test]
    fn messages_without_end_and_without_reader_are_errors() {
        let (a, b) = pair().unwrap();
        let mut reader: Channel<(), String> = Channel::new(b);
        let mut packet = vec![b'x'; PACKET + 1];
        packet[0] = MORE;
        let ended = (0..=BYTES_MAX / PACKET + 1).find_map(|_| {
            send(&a, &packet, SendFlags::NOSIGNAL).unwrap();
            reader.receive().err()
        });
        assert_eq!(ended.unwrap().to_string(), "a message without end");
        let mut writer: Channel<String, ()> = Channel::new(a);
        let text = "x".repeat(1 << 20);
        let sent = (0..=BYTES_MAX >> 20).take_while(|_| writer.send(&text, vec![]).is_ok()).count();
        assert!((3..=4).contains(&sent), "{sent}");
        // What is read counts no more.
        let (a, b) = pair().unwrap();
        let (mut writer, mut reader) =
            (Channel::<String, ()>::new(a), Channel::<(), String>::new(b));
        for _ in 0..2 * (BYTES_MAX >> 20) {
            writer.send(&text, vec![]).unwrap();
            while !matches!(reader.receive().unwrap(), Received::Message(..)) {
                writer.flush().unwrap();
            }
        }
        assert_eq!(writer.unsent_bytes, 0);
    }

    #[test]
    fn long_messages_and_many_descriptors_arrive_complete() {
        let (a, b) = pair().unwrap();
        let mut a: Channel<Vec<String>, ()> = Channel::new(a);
        let mut b: Channel<(), Vec<String>> = Channel::new(b);
        let words: Vec<String> = (0..40_000).map(|n| format!("word {n}")).collect();
        let pipes: Vec<_> = (0..150).map(|_| rustix::pipe::pipe().unwrap()).collect();
        let (readers, writers): (Vec<_>, Vec<_>) = pipes.into_iter().unzip();
        a.send(&words, writers).unwrap();
        a.send(&vec!["next".into()], vec![]).unwrap();
        let mut got = Vec::new();
        while got.len() < 2 {
            a.flush().unwrap();
            if let Received::Message(message, fds) = b.receive().unwrap() {
                got.push((message, fds));
            }
        }
        assert_eq!(got[0].0, words);
        assert_eq!(got[0].1.len(), 150);
        assert_eq!(got[1].0, ["next"]);
        let last = got[0].1.pop().unwrap();
        std::fs::File::from(last).write_all(b"x").unwrap();
        assert_eq!(rustix::io::read(&readers[149], &mut [0; 4]).unwrap(), 1);
        drop(a);
        // A process that another test is starting may have the other end open for a moment.
        while !matches!(b.receive().unwrap(), Received::Closed) {
            std::thread::yield_now();
        }
    }
}
