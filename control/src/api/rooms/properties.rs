//! `rooms/{id}/properties`: the room's fields in its shared state, which SDKs call room properties.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nucleus_core::control::{ControlReply, ControlRequest, RoomAct, RoomProperty, RoomSummary};
use nucleus_core::room::{is_key, is_value};
use nucleus_core::text;
use nucleus_protocol::limits::{
    MAX_STATE_KEY, MAX_STATE_OPERATIONS, MAX_STATE_REQUEST, MAX_STATE_VALUE,
};
use nucleus_protocol::session::{Value, value};
use serde_json::value::RawValue;
use serde_json::{Number, Value as JsonValue, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::acts::carry_out;
use super::{absent, parse};
use crate::api::caller::{Caller, Scope};
use crate::api::extract::{Id, JsonBody};
use crate::api::problem::Problem;
use crate::api::responses::{Common, OfBody, OfOne};
use crate::api::state::ApiState;

/// Bytes that each property counts beside its key and value, as in a request of a client.
const OVERHEAD: usize = 64;
/// Most characters of the keys in an entry of the audit.
const NOTED: usize = 400;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(get, set))
}

/// The properties of a live room, as its clients see them. A value is a boolean, a number or a text; bytes
/// are `{"base64": "..."}`, and an infinite number is `{"float": "inf"}` or `{"float": "-inf"}`.
#[utoipa::path(
    get,
    path = "/rooms/{id}/properties",
    operation_id = "get_room_properties",
    tag = "rooms",
    params(("id" = String, Path, description = "The room's id")),
    security(("key" = ["read"])),
    responses(
        (status = 200, description = "The properties by their keys", body = BTreeMap<String, JsonValue>),
        Common,
        OfOne
    )
)]
async fn get(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
) -> Result<Json<BTreeMap<String, JsonValue>>, Problem> {
    caller.needs(Scope::Read)?;
    let (_, fields) = find(&state, &caller, &id).await?;
    Ok(Json(fields.into_iter().map(|field| (field.key, to_json(&field.value))).collect()))
}

/// Sets properties of a live room, all or none of them: null deletes one, and what the body does not name
/// stays. A number with a fraction or an exponent is a float, any other one an integer of 64 bits, and
/// one that is out of their range is refused. Clients see an ordinary update of the server. The limits are those of a client: 64 properties, keys of 64 bytes, values
/// of 4 KiB, 16 KiB in one request.
#[utoipa::path(
    patch,
    path = "/rooms/{id}/properties",
    operation_id = "set_room_properties",
    tag = "rooms",
    params(("id" = String, Path, description = "The room's id")),
    request_body = BTreeMap<String, JsonValue>,
    security(("key" = ["operate"])),
    responses((status = 204, description = "They are set"), Common, OfOne, OfBody)
)]
async fn set(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
    // `serde_json` reads an integer that is too large as a float: its text says what was meant.
    JsonBody(body): JsonBody<BTreeMap<String, Box<RawValue>>>,
) -> Result<StatusCode, Problem> {
    caller.needs(Scope::Operate)?;
    let fields = fields(body)?;
    let (room, _) = find(&state, &caller, &id).await?;
    let keys: Vec<_> = fields.iter().map(|field| text::printable(&field.key)).collect();
    let mut keys = keys.join(", ");
    if keys.chars().count() > NOTED {
        keys = keys.chars().take(NOTED).chain("...".chars()).collect();
    }
    carry_out(&state, &caller, &room, "room.properties", RoomAct::SetFields(fields), &keys).await
}

/// Asks for the fields of a room that the caller may know of.
async fn find(
    state: &ApiState,
    caller: &Caller,
    id: &str,
) -> Result<(RoomSummary, Vec<RoomProperty>), Problem> {
    let address = parse(id)?;
    let ControlReply::Fields(room, fields) =
        state.planes().ask(ControlRequest::Fields(address.0)).await?
    else {
        return Err(Problem::unavailable("the server gave another answer"));
    };
    // A room of another tenant looks as if there were none.
    if caller.sees_named(&room.key.owner.tenant) { Ok((*room, fields)) } else { Err(absent()) }
}

/// Checks a body, and translates it for the room.
fn fields(body: BTreeMap<String, Box<RawValue>>) -> Result<Vec<RoomProperty>, Problem> {
    if !(1..=MAX_STATE_OPERATIONS).contains(&body.len()) {
        let text = format!("the body must name 1 to {MAX_STATE_OPERATIONS} properties");
        return Err(Problem::invalid(text));
    }
    let mut bytes = 0;
    let mut fields = Vec::with_capacity(body.len());
    for (key, raw) in body {
        let wrong = |why: &str| Problem::invalid(format!("`{}` {why}", text::printable(&key)));
        if !is_key(key.as_bytes()) {
            return Err(wrong(&format!("is no key: it must have 1 to {MAX_STATE_KEY} bytes")));
        }
        let value = from_raw(&raw).map_err(wrong)?;
        if !is_value(&value) {
            return Err(wrong(&format!("may have {MAX_STATE_VALUE} bytes")));
        }
        bytes += OVERHEAD + key.len() + value.bytes.len();
        fields.push(RoomProperty { key, value });
    }
    if bytes > MAX_STATE_REQUEST {
        let text = format!("the properties of one request may have {MAX_STATE_REQUEST} bytes");
        return Err(Problem::invalid(text));
    }
    Ok(fields)
}

/// Translates a value of the shared state.
fn to_json(value: &Value) -> JsonValue {
    match value.kind {
        value::BOOL => (value.bits != 0).into(),
        value::INTEGER => (value.bits as i64).into(),
        value::FLOAT => match f64::from_bits(value.bits) {
            number if number.is_finite() => Number::from_f64(number).into(),
            number => json!({"float": if number > 0.0 { "inf" } else { "-inf" }}),
        },
        value::TEXT => String::from_utf8_lossy(&value.bytes).into(),
        value::BYTES => json!({"base64": STANDARD.encode(&value.bytes)}),
        _ => JsonValue::Null,
    }
}

/// Why a value cannot be one of the shared state.
const NO_VALUE: &str =
    "must be null, a boolean, a number, a text, or an object with `base64` or `float`";
const NO_INTEGER: &str = "is an integer outside of -9223372036854775808 to 9223372036854775807: with a \
                          fraction or an exponent, as in 1.0e19, it is a float";
const NO_BASE64: &str = "`base64` must be a text in Base64 with its padding, as in AAH/ or AAE=";
const NO_FLOAT: &str = "`float` must be \"inf\" or \"-inf\"; write other floats as numbers";

/// Translates a value of a body.
///
/// # Errors
///
/// Why it is none of the shared state, for a text that begins with its key.
fn from_raw(raw: &RawValue) -> Result<Value, &'static str> {
    let text = raw.get().strip_prefix('-').unwrap_or(raw.get());
    let is_integer = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_integer && raw.get().parse::<i64>().is_err() {
        return Err(NO_INTEGER);
    }
    let json = serde_json::from_str(raw.get()).map_err(|_| NO_VALUE)?;
    from_json(&json)
}

fn from_json(json: &JsonValue) -> Result<Value, &'static str> {
    let plain = |kind, bits| Ok(Value { kind, bits, bytes: Vec::new() });
    match json {
        JsonValue::Null => plain(value::NONE, 0),
        JsonValue::Bool(is) => plain(value::BOOL, (*is).into()),
        JsonValue::Number(number) => match number.as_i64() {
            Some(integer) => plain(value::INTEGER, integer as u64),
            None => plain(value::FLOAT, number.as_f64().ok_or(NO_VALUE)?.to_bits()),
        },
        JsonValue::String(text) => {
            Ok(Value { kind: value::TEXT, bits: 0, bytes: text.clone().into_bytes() })
        }
        JsonValue::Object(object) if object.len() == 1 => {
            if let Some(text) = object.get("base64") {
                let bytes = STANDARD.decode(text.as_str().ok_or(NO_BASE64)?);
                let bytes = bytes.map_err(|_| NO_BASE64)?;
                return Ok(Value { kind: value::BYTES, bits: 0, bytes });
            }
            let number = match object.get("float").ok_or(NO_VALUE)?.as_str() {
                Some("inf") => f64::INFINITY,
                Some("-inf") => f64::NEG_INFINITY,
                _ => return Err(NO_FLOAT),
            };
            plain(value::FLOAT, number.to_bits())
        }
        JsonValue::Array(_) | JsonValue::Object(_) => Err(NO_VALUE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_comes_back_as_it_was() {
        for json in [
            json!(true),
            json!(false),
            json!(0),
            json!(i64::MIN),
            json!(i64::MAX),
            json!(2.0),
            json!(-1.5e300),
            json!(""),
            json!("Grüße"),
            json!({"base64": "AAH/"}),
            json!({"float": "inf"}),
            json!({"float": "-inf"}),
            JsonValue::Null,
        ] {
            let value = from_json(&json).unwrap();
            assert!(is_value(&value), "{json}");
            assert_eq!(to_json(&value), json);
        }
        assert_ne!(from_json(&json!(2)), from_json(&json!(2.0)), "an integer and a float");
        for (wrong, why) in [
            (json!([1]), NO_VALUE),
            (json!({}), NO_VALUE),
            (json!({"base64": "?"}), NO_BASE64),
            (json!({"base64": 1}), NO_BASE64),
            (json!({"float": "nan"}), NO_FLOAT),
            (json!({"base64": "AAH/", "float": "inf"}), NO_VALUE),
        ] {
            assert_eq!(from_json(&wrong), Err(why), "{wrong}");
        }
    }

    #[test]
    fn an_integer_is_never_rounded() {
        let read = |text: &str| from_raw(&RawValue::from_string(text.to_owned()).unwrap());
        for integer in [i64::MIN, -1, 0, i64::MAX] {
            assert_eq!(read(&integer.to_string()), from_json(&json!(integer)), "{integer}");
        }
        for wrong in ["9223372036854775808", "18446744073709551616", "-9223372036854775809"] {
            assert_eq!(read(wrong), Err(NO_INTEGER), "{wrong}");
            let float = format!("{wrong}.0");
            assert_eq!(read(&float).unwrap().kind, value::FLOAT, "{float}");
        }
    }

    #[test]
    fn a_request_is_bounded() {
        let raw = |text: String| RawValue::from_string(text).unwrap();
        let body = |count: usize, key: usize, len: usize| -> BTreeMap<String, Box<RawValue>> {
            let field = |n| (format!("{n:0key$}"), raw(format!("\"{}\"", "x".repeat(len))));
            (0..count).map(field).collect()
        };
        assert!(fields(body(64, 2, 100)).is_ok() && fields(body(1, 64, 4_096)).is_ok());
        for (count, key, len) in [(0, 1, 1), (65, 2, 1), (1, 65, 1), (1, 1, 4_097), (5, 1, 4_000)] {
            assert!(fields(body(count, key, len)).is_err(), "{count} {key} {len}");
        }
        assert!(
            fields(BTreeMap::from([(String::new(), raw("1".to_owned()))])).is_err(),
            "an empty key"
        );
    }
}
