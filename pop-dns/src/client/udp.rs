//! One query by UDP: a socket of its own, hence a source port drawn by the operating system for this query alone
//! (RFC 5452 §9.2), and packets from the server's address alone, because the socket is connected to it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

use super::Suspicion;
use super::exchange::{Exchange, Verdict};

/// Octets of a packet that are read. More than we ever offer to take.
const PACKET_OCTETS_MAX: usize = 4096;

/// Sends the query and waits for its answer, for ever if need be: the caller has the deadline.
pub(super) async fn ask(
    server: SocketAddr,
    exchange: &Exchange,
    suspicion: &Suspicion,
) -> io::Result<(Verdict, Vec<u8>)> {
    let any = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(exchange.wire()).await?;
    let mut packet = [0; PACKET_OCTETS_MAX];
    loop {
        let octets = socket.recv(&mut packet).await?;
        match exchange.judge(&packet[..octets]) {
            Verdict::Ignored => suspicion.packet_ignored(),
            Verdict::Bare(rcode) => suspicion.bare_code(rcode),
            verdict => return Ok((verdict, packet[..octets].to_vec())),
        }
    }
}
