//! A resolver in a city: asks the PoPs' name servers for the site, and tells them the client's subnet (RFC 7871).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pop_edge::dns::{
    ClientSubnet, EdnsParts, Message, MessageBuilder, NameBuf, RData, Rcode, RecordType, Section,
};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// How long one name server is waited for before the next is asked.
const PATIENCE: Duration = Duration::from_millis(400);

/// An answer, as the resolver would keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub address: IpAddr,
    pub ttl: u32,
    /// For how wide a prefix the answer holds.
    pub scope: u8,
    /// Which of the servers answered.
    pub server: usize,
}

/// Asks the servers in turn for the address of `name` on behalf of `client`.
///
/// # Errors
/// When no server answers, or what answers is not an address.
pub async fn resolve(
    servers: &[SocketAddr],
    name: &NameBuf,
    client: (IpAddr, u8),
    id: u16,
) -> io::Result<Answer> {
    let query = query(name, client, id)?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no name server to ask");
    for (index, &server) in servers.iter().enumerate() {
        match timeout(PATIENCE, ask(server, &query, id)).await {
            Ok(Ok((address, ttl, scope))) => return Ok(Answer { address, ttl, scope, server: index }),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, format!("{server} does not answer")),
        }
    }
    Err(last)
}

fn query(name: &NameBuf, client: (IpAddr, u8), id: u16) -> io::Result<Vec<u8>> {
    let mut query = MessageBuilder::query(id, name, RecordType::A);
    let subnet = ClientSubnet::new(client.0, client.1);
    let parts = EdnsParts { udp_payload: 1232, client_subnet: Some(subnet), ..EdnsParts::default() };
    query.edns(&parts, Rcode::NOERROR).map_err(io::Error::other)?;
    Ok(query.finish())
}

async fn ask(server: SocketAddr, query: &[u8], id: u16) -> io::Result<(IpAddr, u32, u8)> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = [0; 1232];
    let length = socket.recv(&mut buffer).await?;
    read(&buffer[..length], id)
}

fn read(answer: &[u8], id: u16) -> io::Result<(IpAddr, u32, u8)> {
    let odd = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let message = Message::parse(answer).map_err(io::Error::other)?;
    if message.header().id != id || message.header().flags.rcode() != Rcode::NOERROR {
        return Err(odd("not the answer to this question"));
    }
    let scope = message
        .edns()
        .map_err(io::Error::other)?
        .and_then(|edns| edns.client_subnet().ok().flatten())
        .ok_or_else(|| odd("no client subnet in the answer"))?
        .scope();
    for record in message.section(Section::Answer).map_err(io::Error::other)? {
        let record = record.map_err(io::Error::other)?;
        if let RData::A(address) = record.rdata().map_err(io::Error::other)? {
            return Ok((IpAddr::V4(address), record.ttl, scope));
        }
    }
    Err(odd("no address in the answer"))
}
