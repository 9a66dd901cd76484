//! Datagrams by the batch: `recvmmsg` and `sendmmsg`, one system call for up to [`BATCH`] of them. The one file of
//! this crate that holds unsafe code; what it offers is safe.
//!
//! A socket bound to one address answers from it by itself. One bound to the wildcard learns from a control message
//! (`IP_PKTINFO`, RFC 3542 §4.1) to which address each query was sent, and sends the answer from there.
#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

use super::Later;
use super::batch::{BATCH, Batch, QUERY_OCTETS_MAX, Slot};
use crate::Outcome;

/// Octets for one control message with an `in6_pktinfo`, the larger of the two.
const CONTROL_OCTETS: usize = 64;

/// Room for a control message, aligned as the kernel aligns its header.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_OCTETS]);

/// A socket and the memory that the kernel writes to and reads from.
pub(super) struct BatchSocket {
    socket: UdpSocket,
    wildcard: bool,
    queries: Box<[[u8; QUERY_OCTETS_MAX]]>,
    slots: Box<[Slot]>,
    answers: Box<[Vec<u8>]>,
    /// Where the queries came from, as the kernel said.
    names: Box<[libc::sockaddr_storage]>,
    /// Where they went to, the same.
    controls: Box<[Control]>,
    incoming: Headers,
    outgoing: Headers,
    /// Slots whose incoming headers have to be made anew: those that the last call used.
    used: usize,
}

/// Headers for a call, and the vector of each.
struct Headers {
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

impl BatchSocket {
    pub(super) fn new(socket: UdpSocket) -> Self {
        let wildcard = socket.local_addr().is_ok_and(|local| local.ip().is_unspecified());
        // SAFETY: a C struct of numbers, for which zeros are valid.
        let name = unsafe { std::mem::zeroed::<libc::sockaddr_storage>() };
        Self {
            socket,
            wildcard,
            queries: vec![[0; QUERY_OCTETS_MAX]; BATCH].into(),
            slots: vec![Slot::UNUSED; BATCH].into(),
            answers: (0..BATCH).map(|_| Vec::with_capacity(QUERY_OCTETS_MAX)).collect(),
            names: vec![name; BATCH].into(),
            controls: vec![Control([0; CONTROL_OCTETS]); BATCH].into(),
            incoming: Headers::new(BATCH),
            outgoing: Headers::new(BATCH),
            used: BATCH,
        }
    }

    /// Waits for a datagram and takes it with all that are there, [`BATCH`] at most.
    pub(super) fn receive<'b>(&'b mut self, later: &'b mut Vec<(usize, Later)>) -> io::Result<Batch<'b>> {
        for slot in 0..self.used {
            let query = &mut self.queries[slot];
            let vector = libc::iovec { iov_base: query.as_mut_ptr().cast(), iov_len: QUERY_OCTETS_MAX };
            let control = if self.wildcard { CONTROL_OCTETS } else { 0 };
            self.incoming.point(slot, vector, &mut self.names[slot], &mut self.controls[slot], control);
        }
        self.used = 0;
        // SAFETY: each of the BATCH headers points to a name, a control buffer, a vector and through it to a query of
        // its own, all of this struct, which is borrowed until the call returns; each length is that of its buffer.
        let received = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                self.incoming.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_WAITFORONE as _,
                ptr::null_mut(),
            )
        };
        self.used = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        // Once the socket is shut down it reports its end, which comes from nobody.
        while self.used > 0 && self.incoming.headers[self.used - 1].msg_hdr.msg_namelen == 0 {
            self.used -= 1;
        }
        for slot in 0..self.used {
            let octets = self.incoming.headers[slot].msg_len as usize;
            self.slots[slot] = Slot::new(read_name(&self.names[slot]), octets);
        }
        Ok(Batch {
            queries: &self.queries[..self.used],
            slots: &mut self.slots[..self.used],
            answers: &mut self.answers[..self.used],
            later,
        })
    }

    /// What became of the queries received last, and they themselves.
    pub(super) fn outcomes(&self) -> impl Iterator<Item = (Outcome, &[u8])> {
        let settled = self.slots[..self.used].iter().zip(&self.queries);
        settled.map(|(slot, query)| (slot.outcome, &query[..usize::from(slot.octets)]))
    }

    /// How to answer the query at `slot` of those received last, once the answer is there.
    pub(super) fn way_back(&mut self, slot: usize) -> WayBack {
        let control_octets = self.control_octets(slot);
        WayBack { name: self.names[slot], control: self.controls[slot], control_octets }
    }

    /// Makes the control message for an answer to the query at `slot` of what came with it: its octets.
    #[inline]
    fn control_octets(&mut self, slot: usize) -> usize {
        #[allow(clippy::unnecessary_cast, reason = "32 bits with some C libraries")]
        let received = self.incoming.headers[slot].msg_hdr.msg_controllen as usize;
        let octets = if self.wildcard { received.min(CONTROL_OCTETS) } else { 0 };
        if octets > 0 {
            self.controls[slot].forget_interface();
        }
        octets
    }

    /// Sends the answers to where the queries received last came from. What the kernel does not take is lost, as the
    /// network might lose it.
    pub(super) fn send(&mut self) {
        let mut filled = 0;
        for slot in 0..self.used {
            if !matches!(self.slots[slot].outcome, Outcome::Answered(_)) {
                continue;
            }
            let control = self.control_octets(slot);
            let answer = &mut self.answers[slot];
            let vector = libc::iovec { iov_base: answer.as_mut_ptr().cast(), iov_len: answer.len() };
            self.outgoing.point(filled, vector, &mut self.names[slot], &mut self.controls[slot], control);
            filled += 1;
        }
        let mut sent = 0;
        while sent < filled {
            // SAFETY: the first `filled` headers point to answers, names and control messages of this struct, which is
            // borrowed until the call returns; each length is that of what the kernel or an answer filled in.
            let taken = unsafe {
                libc::sendmmsg(
                    self.socket.as_raw_fd(),
                    self.outgoing.headers[sent..].as_mut_ptr(),
                    (filled - sent) as libc::c_uint,
                    0,
                )
            };
            // An error is about the first of them alone.
            sent += usize::try_from(taken).unwrap_or(0).max(1);
        }
    }
}

/// Where a query came from, and the address it was sent to.
pub(super) struct WayBack {
    name: libc::sockaddr_storage,
    control: Control,
    control_octets: usize,
}

impl WayBack {
    /// Sends an answer there from the socket that received the query. What the kernel does not take is lost.
    pub(super) fn send(mut self, socket: &UdpSocket, answer: &mut [u8]) {
        let mut headers = Headers::new(1);
        let vector = libc::iovec { iov_base: answer.as_mut_ptr().cast(), iov_len: answer.len() };
        headers.point(0, vector, &mut self.name, &mut self.control, self.control_octets);
        // SAFETY: the one header points to the answer and to our own name and control message, which all live until
        // the call returns; each length is that of what it points to.
        let _ = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const headers.headers[0].msg_hdr, 0) };
    }
}

impl Headers {
    fn new(headers: usize) -> Self {
        // SAFETY: a C struct of numbers and pointers, for which zeros are valid.
        let header = unsafe { std::mem::zeroed::<libc::mmsghdr>() };
        let vector = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        Self { vectors: vec![vector; headers].into(), headers: vec![header; headers].into() }
    }

    /// Lets the header at `index` point to one vector, a name and a control message.
    #[inline]
    fn point(
        &mut self,
        index: usize,
        vector: libc::iovec,
        name: &mut libc::sockaddr_storage,
        control: &mut Control,
        control_octets: usize,
    ) {
        self.vectors[index] = vector;
        let header = &mut self.headers[index].msg_hdr;
        header.msg_namelen = name_octets(name);
        header.msg_name = ptr::from_mut(name).cast();
        header.msg_iov = &raw mut self.vectors[index];
        header.msg_iovlen = 1;
        header.msg_control =
            if control_octets == 0 { ptr::null_mut() } else { ptr::from_mut(control).cast() };
        header.msg_controllen = control_octets as _;
        header.msg_flags = 0;
    }
}

impl Control {
    /// Leaves the choice of the interface to the routing table: only the source address is ours to say. A link-local
    /// address means nothing without its interface, so that one stays.
    fn forget_interface(&mut self) {
        // SAFETY: arithmetic on sizes.
        let data = unsafe { libc::CMSG_LEN(0) } as usize;
        let level_at = size_of::<libc::size_t>();
        let level = self.0[level_at..].first_chunk().map_or(0, |octets| i32::from_ne_bytes(*octets));
        let interface = match level {
            // `in_pktinfo` begins with the interface, `in6_pktinfo` with the address.
            libc::IPPROTO_IP => data,
            _ if self.0[data..].starts_with(&[0xfe, 0x80]) => return,
            _ => data + 16,
        };
        self.0[interface..interface + 4].fill(0);
    }
}

/// Asks for the address that each datagram was sent to, if `local` is a wildcard. The kernel notes it when a datagram
/// arrives, so this comes before the socket is bound.
pub(super) fn ask_for_destination(socket: &impl AsRawFd, local: SocketAddr) -> io::Result<()> {
    if !local.ip().is_unspecified() {
        return Ok(());
    }
    let on: libc::c_int = 1;
    let (level, option) = match local {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    // SAFETY: the option takes an int, which `on` is and which lives until the call returns.
    let failed = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The octets of an address of this family: the room for the next of its kind, as a socket has but one, or the larger.
fn name_octets(name: &libc::sockaddr_storage) -> libc::socklen_t {
    let octets = match i32::from(name.ss_family) {
        libc::AF_INET => size_of::<libc::sockaddr_in>(),
        _ => size_of::<libc::sockaddr_in6>(),
    };
    octets as libc::socklen_t
}

/// The address in a name that the kernel filled in.
#[inline]
fn read_name(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: a storage is larger than any address and aligned for all of them; its family says which it is.
            let name = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in>() };
            let address = IpAddr::from(name.sin_addr.s_addr.to_ne_bytes());
            Some((address, u16::from_be(name.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let name = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
            let address = IpAddr::from(name.sin6_addr.s6_addr).to_canonical();
            Some((address, u16::from_be(name.sin6_port)).into())
        }
        _ => None,
    }
}
