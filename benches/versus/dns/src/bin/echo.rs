//! The limit of any server over UDP: datagrams taken and sent back by the batch, with nothing in between but the bit that
//! makes a query a response. `echo ADDR`.

use std::mem::zeroed;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

const BATCH: usize = 64;
const OCTETS: usize = 1232;

fn main() -> std::io::Result<()> {
    let socket = UdpSocket::bind(std::env::args().nth(1).expect("an address to bind"))?;
    for (option, octets) in [(libc::SO_RCVBUF, 4_i32 << 20), (libc::SO_SNDBUF, 4 << 20)] {
        // SAFETY: the option takes an int, which lives until the call returns.
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const octets).cast(), 4) };
    }
    let mut buffers = vec![[0_u8; OCTETS]; BATCH];
    // SAFETY: C structs of numbers and pointers, for which zeros are valid.
    let (name, vector, header) =
        unsafe { (zeroed::<libc::sockaddr_in>(), zeroed::<libc::iovec>(), zeroed::<libc::mmsghdr>()) };
    let (mut names, mut vectors, mut headers) = (vec![name; BATCH], vec![vector; BATCH], vec![header; BATCH]);
    let mut used = BATCH;
    loop {
        for index in 0..used {
            vectors[index] = libc::iovec { iov_base: buffers[index].as_mut_ptr().cast(), iov_len: OCTETS };
            let header = &mut headers[index].msg_hdr;
            header.msg_name = (&raw mut names[index]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
            header.msg_iov = &raw mut vectors[index];
            header.msg_iovlen = 1;
        }
        // SAFETY: each header points to a name and a vector over a buffer of its own, which outlive the calls.
        unsafe {
            let descriptor = socket.as_raw_fd();
            let received = libc::recvmmsg(
                descriptor,
                headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_WAITFORONE as _,
                std::ptr::null_mut(),
            );
            used = usize::try_from(received).unwrap_or(0);
            for index in 0..used {
                buffers[index][2] |= 0x80;
                vectors[index].iov_len = headers[index].msg_len as usize;
            }
            libc::sendmmsg(descriptor, headers.as_mut_ptr(), used as u32, 0);
        }
    }
}
