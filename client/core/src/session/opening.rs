//! The first messages of a session: what the client sends before the server's first answer, and the
//! answers of the server.

use std::time::Duration;

use bytes::Bytes;
use nucleus_protocol::limits;
use nucleus_protocol::session::{
    Code, Features, Hello, OLDEST_VERSION, Refuse, Schema, VERSION, Welcome, stream,
};

use super::buffer::{MessageBuffer, NextMessage};
use super::{Capabilities, JoinError, ProtocolError};
use crate::token;

/// Encodes the type byte and `Hello`, with which every control stream begins.
pub(super) fn hello(agent: &str, capabilities: &Capabilities) -> Vec<u8> {
    let hello = Hello {
        oldest: OLDEST_VERSION,
        newest: VERSION,
        flags: capabilities.flags(),
        agent: agent.as_bytes().to_vec(),
        features: capabilities.features.to_bytes(),
    };
    [&[stream::CONTROL][..], &hello.encode()].concat()
}

/// Returns whether a token has a length that a server takes: it ends the session at others. The shell
/// checks the rest of the form, with [`token::problem`].
pub(crate) fn may_be_token(text: &str) -> bool {
    !text.is_empty() && text.len() <= limits::MAX_TOKEN
}

/// Checks the limits of the options that all sessions have in common, and the form of the token.
///
/// # Errors
/// The first limit that is not kept, as one line.
pub fn check_opening(token: &str, name: &str, agent: &str) -> Result<(), &'static str> {
    if let Some(problem) = token::problem(token) {
        Err(problem)
    } else if name.len() > limits::MAX_NAME {
        Err("the display name must have at most 128 bytes")
    } else if agent.len() > limits::MAX_AGENT {
        Err("the agent must have at most 128 bytes")
    } else {
        Ok(())
    }
}

/// Takes the server's `Welcome` and checks the version that the server chose. Returns the features
/// that the server offers; `None`: more bytes are needed.
pub(super) fn welcome(answers: &mut MessageBuffer) -> Result<Option<Features>, JoinError> {
    let Some(body) = expect(answers, Schema::Welcome, limits::MAX_HANDSHAKE_MESSAGE)? else {
        return Ok(None);
    };
    let welcome = Welcome::parse(&body).map_err(ProtocolError::from)?;
    if !(OLDEST_VERSION..=VERSION).contains(&welcome.version) {
        return Err(ProtocolError::Version(welcome.version).into());
    }
    Ok(Some(Features::parse_any(&welcome.features)))
}

/// Takes the next message, which must have the schema `due`, and returns its body; `None`: more
/// bytes are needed. Converts a `Refuse` message into an error.
pub(super) fn expect(
    answers: &mut MessageBuffer,
    due: Schema,
    limit: usize,
) -> Result<Option<Bytes>, JoinError> {
    match answers.next(limit)? {
        NextMessage::Message(Schema::Refuse, body) => Err(refused(&body)),
        NextMessage::Message(schema, body) if schema == due => Ok(Some(body)),
        NextMessage::Message(other, _) => Err(ProtocolError::Unexpected(other).into()),
        // The connection's end says why.
        NextMessage::Incomplete | NextMessage::Ended => Ok(None),
    }
}

/// Returns the endpoints of a list that are text, at most [`limits::MAX_ENDPOINTS`].
pub(crate) fn endpoints(list: &[Vec<u8>]) -> Vec<String> {
    let texts = list.iter().filter_map(|endpoint| String::from_utf8(endpoint.clone()).ok());
    texts.filter(|text| text.len() <= limits::MAX_ENDPOINT).take(limits::MAX_ENDPOINTS).collect()
}

fn refused(body: &[u8]) -> JoinError {
    match Refuse::parse(body) {
        Ok(refuse) => JoinError::Refused {
            code: Code::from_number(refuse.code.into()),
            number: refuse.code,
            text: String::from_utf8_lossy(&refuse.text).into_owned(),
            retry_after: (refuse.retry_after_ms > 0)
                .then(|| Duration::from_millis(refuse.retry_after_ms.into())),
            endpoints: endpoints(&refuse.endpoints),
        },
        Err(error) => ProtocolError::from(error).into(),
    }
}
