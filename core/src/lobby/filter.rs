//! The conditions by which a match or a watcher selects rooms of a lobby.

use std::cmp::Ordering;

use nucleus_protocol::limits::{MAX_FILTER_VALUES, MAX_FILTERS};
use nucleus_protocol::session::{self, Code, Value, filter, value};

use crate::room::{is_key, is_value};

/// The conditions that a room must meet to fit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// The version of the application. Must be equal to the room's.
    pub version: String,
    /// Conditions on listed fields. All of them must hold.
    pub filters: Vec<FieldFilter>,
}

/// A condition on a listed field.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldFilter {
    /// The field has one of these values. Type and bits must be equal.
    OneOf {
        /// Key of the field.
        key: Vec<u8>,
        /// The values that fit.
        values: Vec<Value>,
    },
    /// The field is a number in a range. Both ends are included.
    Range {
        /// Key of the field.
        key: Vec<u8>,
        /// The least number that fits; `None`: no lower end.
        low: Option<Number>,
        /// The largest number that fits; `None`: no upper end.
        high: Option<Number>,
    },
}

/// A number of one of the two numeric types of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A signed integer.
    Integer(i64),
    /// A floating-point number, never NaN.
    Float(f64),
}

impl Query {
    /// Reads the query of a client.
    ///
    /// # Errors
    ///
    /// [`Code::BadState`] if there are too many filters or values, or if a key or value is invalid.
    pub fn new(version: String, filters: Vec<session::Filter>) -> Result<Self, Code> {
        if filters.len() > MAX_FILTERS {
            return Err(Code::BadState);
        }
        let filters = filters.into_iter().map(FieldFilter::new).collect::<Option<_>>();
        Ok(Self { version, filters: filters.ok_or(Code::BadState)? })
    }

    /// Returns true if a room with this version and these listed fields fits.
    pub fn fits(&self, version: &str, fields: &[(Vec<u8>, Value)]) -> bool {
        self.version == version && self.filters.iter().all(|filter| filter.holds(fields))
    }
}

impl FieldFilter {
    /// Reads a filter of a client; `None` if it is invalid.
    fn new(filter: session::Filter) -> Option<Self> {
        let session::Filter { key, kind, values } = filter;
        let well_formed = is_key(&key)
            && (1..=MAX_FILTER_VALUES).contains(&values.len())
            && values.iter().all(is_value);
        match (kind, &values[..]) {
            _ if !well_formed => None,
            (filter::ONE_OF, _) if values.iter().all(|v| v.kind != value::NONE) => {
                Some(Self::OneOf { key, values })
            }
            (filter::RANGE, [low, high]) => {
                let (low, high) = (bound(low)?, bound(high)?);
                Some(Self::Range { key, low, high })
            }
            _ => None,
        }
    }

    fn holds(&self, fields: &[(Vec<u8>, Value)]) -> bool {
        let (Self::OneOf { key, .. } | Self::Range { key, .. }) = self;
        let Some((_, found)) = fields.iter().find(|(name, _)| name == key) else { return false };
        match self {
            Self::OneOf { values, .. } => values.contains(found),
            Self::Range { low, high, .. } => Number::of(found).is_some_and(|number| {
                low.is_none_or(|low| low.order(number) != Ordering::Greater)
                    && high.is_none_or(|high| number.order(high) != Ordering::Greater)
            }),
        }
    }
}

/// Reads one end of a range: `Some(None)` if the range has no such end, `None` if the value is
/// invalid.
#[expect(clippy::option_option, reason = "a missing bound differs from an invalid one")]
fn bound(value: &Value) -> Option<Option<Number>> {
    if value.kind == value::NONE { Some(None) } else { Number::of(value).map(Some) }
}

impl Number {
    fn of(value: &Value) -> Option<Self> {
        match value.kind {
            value::INTEGER => Some(Self::Integer(value.bits.cast_signed())),
            value::FLOAT => Some(Self::Float(f64::from_bits(value.bits))),
            _ => None,
        }
    }

    /// Compares two integers exactly, and all other pairs as doubles.
    fn order(self, other: Self) -> Ordering {
        let double = |number| match number {
            Self::Integer(integer) => integer as f64,
            Self::Float(float) => float,
        };
        match (self, other) {
            (Self::Integer(one), Self::Integer(other)) => one.cmp(&other),
            // A number is never NaN, so the comparison has a result.
            _ => double(self).partial_cmp(&double(other)).unwrap_or(Ordering::Equal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: u8, bits: u64) -> Value {
        Value { kind, bits, bytes: Vec::new() }
    }

    fn integer(number: i64) -> Value {
        of(value::INTEGER, number.cast_unsigned())
    }

    fn float(number: f64) -> Value {
        of(value::FLOAT, number.to_bits())
    }

    fn query(kind: u8, values: &[Value]) -> Result<Query, Code> {
        let filter = session::Filter { key: b"k".to_vec(), kind, values: values.to_vec() };
        Query::new(String::new(), vec![filter])
    }

    fn holds(kind: u8, values: &[Value], found: Value) -> bool {
        query(kind, values).unwrap().fits("", &[(b"k".to_vec(), found)])
    }

    #[test]
    fn ranges_take_numbers_of_both_types_and_nothing_else() {
        let none = Value::default();
        let range = [integer(-2), float(2.5)];
        for (found, fits) in [
            (integer(-2), true),
            (integer(-3), false),
            (integer(2), true),
            (integer(3), false),
            (float(2.5), true),
            (float(2.51), false),
            (of(value::BOOL, 1), false),
            (Value { kind: value::TEXT, bits: 0, bytes: b"1".to_vec() }, false),
        ] {
            assert_eq!(holds(filter::RANGE, &range, found.clone()), fits, "{found:?}");
        }
        assert!(holds(filter::RANGE, &[none.clone(), integer(0)], integer(i64::MIN)));
        assert!(holds(filter::RANGE, &[integer(0), none.clone()], float(f64::INFINITY)));
        assert!(!holds(filter::RANGE, &[none.clone(), none.clone()], of(value::BOOL, 0)));
        let large = i64::MAX - 1;
        assert!(!holds(filter::RANGE, &[integer(large), integer(large)], integer(i64::MAX)));
    }

    #[test]
    fn one_of_asks_for_type_and_bits() {
        assert!(holds(filter::ONE_OF, &[integer(1), integer(2)], integer(2)));
        assert!(!holds(filter::ONE_OF, &[integer(1)], float(1.0)));
        let missing = query(filter::ONE_OF, &[integer(1)]).unwrap();
        assert!(!missing.fits("", &[(b"other".to_vec(), integer(1))]));
        assert!(!missing.fits("2", &[(b"k".to_vec(), integer(1))]), "another version");
    }

    #[test]
    fn what_breaks_the_rules_is_refused() {
        let one = integer(1);
        for (kind, values) in [
            (filter::ONE_OF, vec![]),
            (filter::ONE_OF, vec![one.clone(); 17]),
            (filter::ONE_OF, vec![Value::default()]),
            (filter::RANGE, vec![one.clone()]),
            (filter::RANGE, vec![one.clone(); 3]),
            (filter::RANGE, vec![of(value::BOOL, 1), one.clone()]),
            (filter::RANGE, vec![float(f64::NAN), one.clone()]),
            (3, vec![one.clone()]),
        ] {
            assert_eq!(query(kind, &values), Err(Code::BadState), "{kind} {values:?}");
        }
        let filter = session::Filter { key: Vec::new(), kind: 1, values: vec![one.clone()] };
        assert_eq!(Query::new(String::new(), vec![filter.clone()]), Err(Code::BadState));
        let filter = session::Filter { key: b"k".to_vec(), ..filter };
        assert!(Query::new(String::new(), vec![filter.clone(); 8]).is_ok());
        assert_eq!(Query::new(String::new(), vec![filter; 9]), Err(Code::BadState));
    }
}
