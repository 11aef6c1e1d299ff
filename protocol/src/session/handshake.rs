//! `Hello`, `Welcome`, `Refuse` and `Ping`. Their layout is frozen, so that any two versions understand a
//! refusal. A reader ignores bytes behind the fields that it knows, so that a later version can
//! append fields.

#[cfg(doc)]
use super::Features;
use super::{MessageHeader, Schema};
use crate::codec::{Reader, Truncated, put_string};

/// The client's first message: the versions that it supports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Oldest version of the session protocol that the client supports.
    pub oldest: u8,
    /// Newest version that the client supports.
    pub newest: u8,
    /// The bits [`HAS_EXPORTER`] and [`NO_REALTIME_PORT`]. Other bits are reserved.
    pub flags: u8,
    /// Name and version of the client's software, for the operator; at most 128 bytes of UTF-8.
    pub agent: Vec<u8>,
    /// The client's features, a bit set: see [`Features::parse`].
    pub features: Vec<u8>,
}

/// The bit of [`Hello::flags`] that says that the client's TLS has an exporter (RFC 5705).
pub const HAS_EXPORTER: u8 = 1;
/// The bit of [`Hello::flags`] that says that the client has no realtime port. Its frames travel in
/// the session for good.
pub const NO_REALTIME_PORT: u8 = 2;

impl Hello {
    /// Returns whether the client's TLS can export keying material.
    pub fn has_exporter(&self) -> bool {
        self.flags & HAS_EXPORTER != 0
    }

    /// Returns whether the client can use the realtime port.
    pub fn has_realtime_port(&self) -> bool {
        self.flags & NO_REALTIME_PORT == 0
    }

    /// Reads the body.
    ///
    /// # Errors
    /// [`Truncated`] if the body is shorter than its fields.
    pub fn parse(body: &[u8]) -> Result<Self, Truncated> {
        let mut r = Reader::new(body);
        let (oldest, newest, flags) = (r.u8()?, r.u8()?, r.u8()?);
        let (agent, features) = (r.string()?.to_vec(), r.string()?.to_vec());
        Ok(Self { oldest, newest, flags, agent, features })
    }

    /// Encodes the message with its header.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = vec![self.oldest, self.newest, self.flags];
        put_string(&mut body, &self.agent);
        put_string(&mut body, &self.features);
        message(Schema::Hello, &body)
    }
}

/// The server's answer to [`Hello`]: the version that both use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The version of the session protocol from here on.
    pub version: u8,
    /// Reserved, zero.
    pub flags: u8,
    /// The server's id, which tokens name as their audience.
    pub server_id: Vec<u8>,
    /// Name and version of the server's software.
    pub agent: Vec<u8>,
    /// The server's features, a bit set: see [`Features::parse`].
    pub features: Vec<u8>,
}

impl Welcome {
    /// Reads the body.
    ///
    /// # Errors
    /// [`Truncated`] if the body is shorter than its fields.
    pub fn parse(body: &[u8]) -> Result<Self, Truncated> {
        let mut r = Reader::new(body);
        let (version, flags) = (r.u8()?, r.u8()?);
        let (server_id, agent) = (r.string()?.to_vec(), r.string()?.to_vec());
        Ok(Self { version, flags, server_id, agent, features: r.string()?.to_vec() })
    }

    /// Encodes the message with its header.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = vec![self.version, self.flags];
        put_string(&mut body, &self.server_id);
        put_string(&mut body, &self.agent);
        put_string(&mut body, &self.features);
        message(Schema::Welcome, &body)
    }
}

/// The server refuses the session and closes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refuse {
    /// The number of a [`super::Code`]. A client shows the text of a code that it does not know.
    pub code: u16,
    /// One line for a person, UTF-8.
    pub text: Vec<u8>,
    /// Milliseconds that the client should wait before it tries again; 0: the server names no
    /// time. The code says whether another try can succeed.
    pub retry_after_ms: u32,
    /// Oldest version that the server supports.
    pub oldest: u8,
    /// Newest version that the server supports.
    pub newest: u8,
    /// Other servers to try, each as `host:port`, at most [`crate::limits::MAX_ENDPOINTS`].
    pub endpoints: Vec<Vec<u8>>,
}

impl Refuse {
    /// Reads the body.
    ///
    /// # Errors
    /// [`Truncated`] if the body is shorter than its fields.
    pub fn parse(body: &[u8]) -> Result<Self, Truncated> {
        let mut r = Reader::new(body);
        let (code, text) = (r.u16()?, r.string()?.to_vec());
        let (retry_after_ms, oldest, newest, count) = (r.u32()?, r.u8()?, r.u8()?, r.u8()?);
        let endpoints = (0..count).map(|_| Ok(r.string()?.to_vec())).collect::<Result<_, _>>()?;
        Ok(Self { code, text, retry_after_ms, oldest, newest, endpoints })
    }

    /// Encodes the message with its header, with at most 255 endpoints.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = self.code.to_le_bytes().to_vec();
        put_string(&mut body, &self.text);
        body.extend_from_slice(&self.retry_after_ms.to_le_bytes());
        let count = u8::try_from(self.endpoints.len()).unwrap_or(u8::MAX);
        body.extend_from_slice(&[self.oldest, self.newest, count]);
        self.endpoints.iter().take(count.into()).for_each(|e| put_string(&mut body, e));
        message(Schema::Refuse, &body)
    }
}

/// A client keeps its session alive. The body is empty. There is no answer: the carrier
/// acknowledges the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ping;

impl Ping {
    /// Reads the body.
    ///
    /// # Errors
    /// None today: bytes of the body belong to later versions.
    pub fn parse(_body: &[u8]) -> Result<Self, Truncated> {
        Ok(Self)
    }

    /// Encodes the message with its header.
    pub fn encode(&self) -> Vec<u8> {
        message(Schema::Ping, &[])
    }
}

fn message(schema: Schema, body: &[u8]) -> Vec<u8> {
    let header = MessageHeader { len: body.len() as u32, schema };
    [&header.to_bytes()[..], body].concat()
}
