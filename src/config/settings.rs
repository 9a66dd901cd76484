//! Deadlines and bounds of serving, and the presets that choose them.

use std::time::Duration;

use http::Method;

/// What kind of PoP it is. Presets differ in defaults alone: each can be set to what another is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Preset {
    /// In front of other people's sites: caches, passes any method on, is patient.
    Cdn,
    /// In front of what is attacked: refuses what is ambiguous or unusual, waits for nobody.
    Security,
    /// In an access network, for its subscribers.
    Isp,
    /// The entry to a provider's regions: passes on, does not cache.
    Cloud,
}

/// What to do with a request that has both `Transfer-Encoding` and `Content-Length` (RFC 9112 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Framing {
    /// `Transfer-Encoding` alone counts, the length is not passed on, the connection ends with the answer.
    Close,
    /// 400.
    Refuse,
}

/// Which methods pass.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Methods {
    /// Every token but CONNECT and TRACE.
    Any,
    /// These; another is answered 405.
    Listed(Vec<Method>),
}

/// Deadlines and bounds of serving. Every one is on by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// From accepting a connection to its first byte.
    pub first_byte: Duration,
    /// For a TLS handshake.
    pub handshake: Duration,
    /// From the first byte of a request's head to its last.
    pub head: Duration,
    /// Between requests.
    pub idle: Duration,
    /// Without a byte taken by a client who has an answer coming.
    pub send_stall: Duration,
    /// The span over which [`body_bytes`](Self::body_bytes) are counted.
    pub body_window: Duration,
    /// Bytes of a request's body that must come in each span of waiting for it.
    pub body_bytes: u64,
    /// Octets of a request's head.
    pub head_bytes: usize,
    /// Octets of a request's target.
    pub uri_bytes: usize,
    /// Connections at once, over all listeners and all runs. From seven eighths of it on, those that idle make room
    /// for others, where no gate has bounds of its own.
    pub connections_max: usize,
    /// Streams at once on an HTTP/2 connection.
    pub streams_max: u32,
    /// HTTP/2 control frames that a connection may send beyond its share (4 a request, 1 for 4 KiB of data).
    pub control_frames: u64,
    /// Whether field names with an underscore pass; some origins take them for hyphens.
    pub underscores: bool,
    /// What to do with two framings.
    pub framing: Framing,
    /// Which methods pass.
    pub methods: Methods,
    /// Whether answers carry `Server-Timing`.
    pub server_timing: bool,
    /// How long connections may go on after a drain began.
    pub grace: Duration,
}

impl Settings {
    /// The defaults of a preset.
    #[must_use]
    pub fn preset(preset: Preset) -> Self {
        let cdn = Self {
            first_byte: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            send_stall: Duration::from_secs(60),
            body_window: Duration::from_secs(10),
            body_bytes: 2400,
            head_bytes: 64 * 1024,
            uri_bytes: 8 * 1024,
            connections_max: 65_536,
            streams_max: 100,
            control_frames: 1000,
            underscores: false,
            framing: Framing::Close,
            methods: Methods::Any,
            server_timing: true,
            grace: Duration::from_secs(10),
        };
        match preset {
            Preset::Cdn | Preset::Cloud => cdn,
            Preset::Isp => Self { idle: Duration::from_secs(120), ..cdn },
            Preset::Security => Self {
                first_byte: Duration::from_secs(5),
                handshake: Duration::from_secs(5),
                head: Duration::from_secs(5),
                idle: Duration::from_secs(15),
                send_stall: Duration::from_secs(20),
                body_window: Duration::from_secs(5),
                head_bytes: 16 * 1024,
                control_frames: 200,
                framing: Framing::Refuse,
                methods: Methods::Listed(vec![
                    Method::GET,
                    Method::HEAD,
                    Method::POST,
                    Method::PUT,
                    Method::PATCH,
                    Method::DELETE,
                    Method::OPTIONS,
                ]),
                server_timing: false,
                ..cdn
            },
        }
    }
}
