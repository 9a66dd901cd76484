//! A source of DNS queries that is not the bottleneck: equal-sized queries, many to a system call (UDP_SEGMENT, so that
//! the kernel walks its stack once for all of them), answers counted by the batch. A bounded number of queries is under
//! way at any time; the server is always busy and never drowns.
//!
//! `flood --server ADDR [--seconds S] [--names N] [--absent PERCENT] [--window W] [--subnet] [--dnssec] [--sockets N]
//! [--segments N] [--pid PID]...`
//! With many sockets and one segment a call, no two queries in a row come from one port, as from many clients. It
//! asks for `hNNNNNN.bench.example`, and for `xNNNNNN.bench.example`, which nobody has. It prints answers per second, the
//! processor time that the given processes spent for each, and what the answers were.

use std::io;
use std::mem::zeroed;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Queries in one call, unless told otherwise.
const SEGMENTS: usize = 32;
/// Answers in one call.
const ANSWERS: usize = 64;
/// Octets of an answer that are looked at: the header.
const HEAD: usize = 12;
/// What is not back after so long is lost.
const LOST: Duration = Duration::from_millis(20);
const CLOCK_TICKS: f64 = 100.0;

struct Arguments {
    server: SocketAddr,
    seconds: f64,
    names: u64,
    absent: u64,
    window: u64,
    subnet: bool,
    dnssec: bool,
    label: String,
    sockets: usize,
    segments: usize,
    pids: Vec<u32>,
}

fn arguments() -> Arguments {
    let mut found = Arguments {
        server: "127.0.0.1:5300".parse().expect("an address"),
        seconds: 2.0,
        names: 100_000,
        absent: 5,
        window: 512,
        subnet: false,
        dnssec: false,
        label: "h".into(),
        sockets: 1,
        segments: SEGMENTS,
        pids: Vec::new(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().expect("a value behind each option");
        match word.as_str() {
            "--server" => found.server = value().parse().expect("ADDR:PORT"),
            "--seconds" => found.seconds = value().parse().expect("seconds"),
            "--names" => found.names = value().parse().expect("a number"),
            "--absent" => found.absent = value().parse().expect("percent"),
            "--window" => found.window = value().parse().expect("a number"),
            "--sockets" => found.sockets = value().parse().expect("a number"),
            "--segments" => found.segments = value().parse().expect("a number"),
            "--label" => found.label = value(),
            "--pid" => found.pids.push(value().parse().expect("a process")),
            "--subnet" => found.subnet = true,
            "--dnssec" => found.dnssec = true,
            other => panic!("unknown option {other}"),
        }
    }
    found
}

/// A xorshift generator: speed is all that is asked of it.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Appends one query; all have the same length.
fn query(arguments: &Arguments, random: &mut Random, out: &mut Vec<u8>) {
    let id = random.next() as u16;
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    let number = random.next() % arguments.names;
    let letter = if random.next() % 100 < arguments.absent { "x" } else { &arguments.label };
    let first = format!("{letter}{number:06}");
    for label in [first.as_str(), "bench", "example"] {
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.extend_from_slice(&[0, 0, 1, 0, 1]);
    let flags = if arguments.dnssec { 0x80 } else { 0 };
    let subnet = if arguments.subnet { 11 } else { 0 };
    out.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, flags, 0, 0, subnet]);
    if arguments.subnet {
        let block = (random.next() as u32).to_be_bytes();
        out.extend_from_slice(&[0, 8, 0, 7, 0, 1, 24, 0, block[0], block[1], block[2]]);
    }
}

/// Processor seconds that processes have spent, all their threads together.
fn processor_seconds(pids: &[u32]) -> f64 {
    let of = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Behind the name in parentheses, user and system time are the 12th and 13th fields.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        (ticks(11) + ticks(12)) / CLOCK_TICKS
    };
    pids.iter().map(of).sum()
}

struct Source {
    socket: UdpSocket,
    heads: Vec<[u8; HEAD]>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    noerror: u64,
    nxdomain: u64,
    other: u64,
}

impl Source {
    fn new(server: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" })?;
        socket.connect(server)?;
        for (option, octets) in [(libc::SO_RCVBUF, 4_i32 << 20), (libc::SO_SNDBUF, 4 << 20)] {
            // SAFETY: the option takes an int, which lives until the call returns.
            unsafe {
                libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const octets).cast(), 4)
            };
        }
        // SAFETY: C structs of numbers and pointers, for which zeros are valid.
        let (vector, header) = unsafe { (zeroed::<libc::iovec>(), zeroed::<libc::mmsghdr>()) };
        Ok(Self {
            socket,
            heads: vec![[0; HEAD]; ANSWERS],
            vectors: vec![vector; ANSWERS],
            headers: vec![header; ANSWERS],
            noerror: 0,
            nxdomain: 0,
            other: 0,
        })
    }

    /// Sends queries of `octets` each that lie one behind the other.
    fn send(&self, queries: &[u8], octets: usize) {
        let vector = libc::iovec { iov_base: queries.as_ptr().cast_mut().cast(), iov_len: queries.len() };
        let mut control = [0_u64; 4];
        // SAFETY: the header points to one vector over `queries` and to a control buffer that is aligned and large enough
        // for a message of two octets; the kernel reads them before the call returns.
        unsafe {
            let mut header: libc::msghdr = zeroed();
            header.msg_iov = (&raw const vector).cast_mut();
            header.msg_iovlen = 1;
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = libc::CMSG_SPACE(2) as _;
            let message = libc::CMSG_FIRSTHDR(&raw const header);
            (*message).cmsg_level = libc::SOL_UDP;
            (*message).cmsg_type = libc::UDP_SEGMENT;
            (*message).cmsg_len = libc::CMSG_LEN(2) as _;
            libc::CMSG_DATA(message).cast::<u16>().write_unaligned(octets as u16);
            libc::sendmsg(self.socket.as_raw_fd(), &raw const header, 0);
        }
    }

    /// Takes the answers that are there.
    fn receive(&mut self) -> usize {
        for index in 0..ANSWERS {
            self.vectors[index] =
                libc::iovec { iov_base: self.heads[index].as_mut_ptr().cast(), iov_len: HEAD };
            let header = &mut self.headers[index].msg_hdr;
            header.msg_iov = &raw mut self.vectors[index];
            header.msg_iovlen = 1;
        }
        // SAFETY: each header points to a vector over octets of its own, all of this struct.
        let received = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                ANSWERS as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).unwrap_or(0);
        for head in &self.heads[..received] {
            match head[3] & 15 {
                0 => self.noerror += 1,
                3 => self.nxdomain += 1,
                _ => self.other += 1,
            }
        }
        received
    }
}

fn main() -> io::Result<()> {
    let arguments = arguments();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut queries = Vec::new();
    query(&arguments, &mut random, &mut queries);
    let octets = queries.len();
    let segments = arguments.segments;
    let calls = 4096 * SEGMENTS / segments;
    while queries.len() < octets * segments * calls {
        query(&arguments, &mut random, &mut queries);
    }
    let mut sources = Vec::new();
    for _ in 0..arguments.sockets {
        sources.push(Source::new(arguments.server)?);
    }
    let (mut sending, mut receiving) = (0, 0);
    let (mut sent, mut back, mut lost) = (0_u64, 0_u64, 0_u64);
    let mut call = 0;
    let start = Instant::now();
    let mut warm = None;
    let mut last = start;
    let end = Duration::from_secs_f64(arguments.seconds + 0.2);
    let mut empty = 0_u32;
    while start.elapsed() < end {
        if warm.is_none() && start.elapsed() > Duration::from_millis(200) {
            warm = Some((Instant::now(), back, processor_seconds(&arguments.pids)));
            sources.iter_mut().for_each(|source| (source.noerror, source.nxdomain, source.other) = (0, 0, 0));
        }
        while sent - back - lost + segments as u64 <= arguments.window {
            sources[sending].send(&queries[call * segments * octets..][..segments * octets], octets);
            sending = (sending + 1) % sources.len();
            call = (call + 1) % calls;
            sent += segments as u64;
        }
        let received = sources[receiving].receive() as u64;
        receiving = (receiving + 1) % sources.len();
        back += received;
        if received > 0 {
            empty = 0;
            last = Instant::now();
        } else {
            empty += 1;
            if empty.is_multiple_of(64 * arguments.sockets as u32) && last.elapsed() > LOST {
                lost = sent - back;
                last = Instant::now();
            }
        }
    }
    let (warm, before, cpu) = warm.expect("the run is longer than its warming up");
    let seconds = warm.elapsed().as_secs_f64();
    let answers = (back - before) as f64;
    let cpu = processor_seconds(&arguments.pids) - cpu;
    let sum = |count: fn(&Source) -> u64| sources.iter().map(count).sum::<u64>();
    println!(
        "{:.0} {:.1} {} {} {} {}",
        answers / seconds,
        cpu / answers * 1e9,
        sum(|source| source.noerror),
        sum(|source| source.nxdomain),
        sum(|source| source.other),
        lost
    );
    Ok(())
}
