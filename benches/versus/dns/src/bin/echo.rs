//! The limit of any server over UDP: datagrams taken and sent back by the batch, with nothing in between but the bit that
//! makes a query a response.
//!
//! `echo ADDR [--batch N] [--segment] [--coalesce] [--spin]`: so many datagrams a call (64); answers to one peer of one
//! size as one send (UDP_SEGMENT); queries of one peer as one receive (UDP_GRO); never sleeping. Each is a design that a
//! server could follow; what it gains here is the most it could gain there.

use std::mem::zeroed;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

const OCTETS: usize = 1232;
/// What one receive may hold once datagrams come together.
const COALESCED_OCTETS: usize = 1 << 16;
/// Datagrams that one send may hold.
const SEGMENTS_MAX: usize = 64;
const UDP_GRO: libc::c_int = 104;

struct Arguments {
    address: String,
    batch: usize,
    segment: bool,
    coalesce: bool,
    spin: bool,
}

fn arguments() -> Arguments {
    let mut words = std::env::args().skip(1);
    let address = words.next().expect("an address to bind");
    let mut found = Arguments { address, batch: 64, segment: false, coalesce: false, spin: false };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--batch" => found.batch = words.next().and_then(|word| word.parse().ok()).expect("a number"),
            "--segment" => found.segment = true,
            "--coalesce" => found.coalesce = true,
            "--spin" => found.spin = true,
            other => panic!("unknown option {other}"),
        }
    }
    found
}

fn option(socket: &UdpSocket, level: i32, option: i32, value: i32) {
    // SAFETY: the option takes an int, which lives until the call returns.
    unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), 4) };
}

/// Room for one control message.
#[derive(Clone, Copy)]
#[repr(align(8))]
struct Control([u8; 32]);

fn main() -> std::io::Result<()> {
    let arguments = arguments();
    let socket = UdpSocket::bind(&arguments.address)?;
    option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, 4 << 20);
    option(&socket, libc::SOL_SOCKET, libc::SO_SNDBUF, 4 << 20);
    if arguments.coalesce {
        option(&socket, libc::SOL_UDP, UDP_GRO, 1);
    }
    let octets = if arguments.coalesce { COALESCED_OCTETS } else { OCTETS };
    let batch = arguments.batch;
    let mut buffers = vec![0_u8; octets * batch];
    // SAFETY: C structs of numbers and pointers, for which zeros are valid.
    let (name, vector, header) =
        unsafe { (zeroed::<libc::sockaddr_in>(), zeroed::<libc::iovec>(), zeroed::<libc::mmsghdr>()) };
    let (mut names, mut vectors) = (vec![name; batch], vec![vector; batch]);
    let (mut incoming, mut outgoing) = (vec![header; batch], vec![header; batch]);
    let (mut controls, mut segments) = (vec![Control([0; 32]); batch], vec![Control([0; 32]); batch]);
    let wait = if arguments.spin { libc::MSG_DONTWAIT } else { libc::MSG_WAITFORONE };
    let mut used = batch;
    loop {
        for index in 0..used {
            let buffer = &mut buffers[index * octets..][..octets];
            vectors[index] = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: octets };
            let header = &mut incoming[index].msg_hdr;
            header.msg_name = (&raw mut names[index]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
            header.msg_iov = &raw mut vectors[index];
            header.msg_iovlen = 1;
            header.msg_control = if arguments.coalesce { (&raw mut controls[index]).cast() } else { std::ptr::null_mut() };
            header.msg_controllen = if arguments.coalesce { 32 } else { 0 };
        }
        // SAFETY: each header points to a name, a control buffer and a vector over a buffer of its own, which outlive the call.
        let received = unsafe {
            let descriptor = socket.as_raw_fd();
            libc::recvmmsg(descriptor, incoming.as_mut_ptr(), batch as u32, wait as _, std::ptr::null_mut())
        };
        used = usize::try_from(received).unwrap_or(0);
        let mut filled = 0;
        let mut index = 0;
        while index < used {
            let length = incoming[index].msg_len as usize;
            vectors[index].iov_len = length;
            let mut size = coalesced_size(&incoming[index].msg_hdr).unwrap_or(length).max(1);
            for query in buffers[index * octets..][..length].chunks_mut(size) {
                query[2] |= 0x80;
            }
            let mut run = 1;
            if arguments.segment && size == length {
                // SAFETY: names are plain octets that the kernel filled in.
                let same = |one: usize| {
                    names[one].sin_addr.s_addr == names[index].sin_addr.s_addr && names[one].sin_port == names[index].sin_port
                };
                while index + run < used
                    && run < SEGMENTS_MAX
                    && incoming[index + run].msg_len as usize == length
                    && same(index + run)
                {
                    vectors[index + run].iov_len = length;
                    buffers[(index + run) * octets + 2] |= 0x80;
                    run += 1;
                }
                size = length;
            }
            let header = &mut outgoing[filled].msg_hdr;
            header.msg_name = (&raw mut names[index]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
            header.msg_iov = &raw mut vectors[index];
            header.msg_iovlen = run as _;
            header.msg_controllen = 0;
            header.msg_control = std::ptr::null_mut();
            if run > 1 || size < length {
                segment(header, &mut segments[filled], size as u16);
            }
            filled += 1;
            index += run;
        }
        if filled > 0 {
            // SAFETY: the first `filled` headers point to names, vectors and control messages that outlive the call.
            unsafe { libc::sendmmsg(socket.as_raw_fd(), outgoing.as_mut_ptr(), filled as u32, 0) };
        }
    }
}

/// Asks for datagrams of `octets` each.
fn segment(header: &mut libc::msghdr, control: &mut Control, octets: u16) {
    // SAFETY: the control buffer is aligned and has room for a message of two octets.
    unsafe {
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = libc::CMSG_SPACE(2) as _;
        let message = libc::CMSG_FIRSTHDR(header);
        (*message).cmsg_level = libc::SOL_UDP;
        (*message).cmsg_type = libc::UDP_SEGMENT;
        (*message).cmsg_len = libc::CMSG_LEN(2) as _;
        libc::CMSG_DATA(message).cast::<u16>().write_unaligned(octets);
    }
}

/// The size of the datagrams that came together.
fn coalesced_size(header: &libc::msghdr) -> Option<usize> {
    if header.msg_controllen == 0 {
        return None;
    }
    // SAFETY: the kernel filled the control buffer in, and says how far.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(header);
        if message.is_null() || (*message).cmsg_level != libc::SOL_UDP || (*message).cmsg_type != UDP_GRO {
            return None;
        }
        Some(libc::CMSG_DATA(message).cast::<i32>().read_unaligned() as usize)
    }
}
