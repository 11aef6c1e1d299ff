//! `Hello`, `Welcome` and `Refuse`. Their layout is frozen, so that any two versions understand a
//! refusal. A reader ignores bytes behind the fields that it knows, so that a later version can
//! append fields.

use super::{MessageHeader, Schema};
use crate::codec::{Reader, Truncated, put_string};

/// The client's first message: the versions that it supports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Oldest version of the session protocol that the client supports.
    pub oldest: u8,
    /// Newest version that the client supports.
    pub newest: u8,
    /// Bit 0: the client's TLS has an exporter (RFC 5705). Other bits are reserved.
    pub flags: u8,
    /// Name and version of the client's software, for the operator; at most 128 bytes of UTF-8.
    pub agent: Vec<u8>,
}

/// The bit of [`Hello::flags`] that says that the client's TLS has an exporter.
const HAS_EXPORTER: u8 = 1;

impl Hello {
    /// Returns whether the client's TLS can export keying material.
    pub fn has_exporter(&self) -> bool {
        self.flags & HAS_EXPORTER != 0
    }

    /// Returns the flags of a client with or without an exporter.
    pub fn flags(exporter: bool) -> u8 {
        if exporter { HAS_EXPORTER } else { 0 }
    }

    /// Reads the body.
    ///
    /// # Errors
    /// [`Truncated`] if the body is shorter than its fields.
    pub fn parse(body: &[u8]) -> Result<Self, Truncated> {
        let mut r = Reader::new(body);
        let (oldest, newest, flags) = (r.u8()?, r.u8()?, r.u8()?);
        Ok(Self { oldest, newest, flags, agent: r.string()?.to_vec() })
    }

    /// Encodes the message with its header.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = vec![self.oldest, self.newest, self.flags];
        put_string(&mut body, &self.agent);
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
}

impl Welcome {
    /// Reads the body.
    ///
    /// # Errors
    /// [`Truncated`] if the body is shorter than its fields.
    pub fn parse(body: &[u8]) -> Result<Self, Truncated> {
        let mut r = Reader::new(body);
        let (version, flags) = (r.u8()?, r.u8()?);
        Ok(Self { version, flags, server_id: r.string()?.to_vec(), agent: r.string()?.to_vec() })
    }

    /// Encodes the message with its header.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = vec![self.version, self.flags];
        put_string(&mut body, &self.server_id);
        put_string(&mut body, &self.agent);
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
    /// Other servers to try, each as `host:port`. Today's server names none.
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

fn message(schema: Schema, body: &[u8]) -> Vec<u8> {
    let header = MessageHeader { len: body.len() as u32, schema };
    [&header.to_bytes()[..], body].concat()
}
